//! Questions to generic netlink families, which answer at once unless somebody's call sleeps with a
//! lock that they need.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    sync::mpsc,
    time::Duration,
};

use crate::{
    error::{Error, Result},
    stuck::{self, Reach},
    worker,
};

/// Who is asked, and whether a thread of ours waits there, so that looking again and again at a node
/// where nobody answers leaves one thread behind, not one each time.
pub(super) struct Asker {
    object: &'static str,
    out: AtomicBool,
}

impl Asker {
    pub(super) const fn new(object: &'static str) -> Self {
        Self { object, out: AtomicBool::new(false) }
    }

    /// Asks in a thread of its own. [`Error::Stuck`] if a marker in `stuck` is live or an earlier
    /// question is out, [`Error::Deadline`] if there is no answer in time.
    pub(super) fn ask<T: Send + 'static>(
        &'static self,
        stuck: &Path,
        deadline: Duration,
        question: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (op, object) = ("ask", self.object);
        stuck::check(stuck, object, op, Reach::GenericNetlink)?;
        if self.out.swap(true, Ordering::AcqRel) {
            return Err(Error::Stuck {
                op: op.to_owned(),
                object: object.to_owned(),
                earlier: "question".to_owned(),
            });
        }
        let (sender, answer) = mpsc::channel();
        let told = move |answers| {
            self.out.store(false, Ordering::Release);
            // Nobody listens after the deadline.
            let _ = sender.send(answers);
        };
        if let Err(source) = worker::run(question, told) {
            self.out.store(false, Ordering::Release);
            return Err(Error::io("start thread to ask", object, source));
        }
        answer.recv_timeout(deadline).unwrap_or_else(|_| {
            let (op, object) = (op.to_owned(), object.to_owned());
            Err(Error::Deadline { op, object, after: deadline })
        })
    }
}
