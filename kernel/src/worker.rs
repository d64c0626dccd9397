//! Threads for work that may sleep in the kernel for ever. Whoever comes back is used again, and whoever
//! does not is left where it is.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SendError, Sender},
    },
    thread,
};

/// Work, which gives what is to be told of its end.
type Job = Box<dyn FnOnce() -> Box<dyn FnOnce()> + Send>;

/// The ways to threads that have nothing to do.
struct Workers(Mutex<Vec<Sender<Job>>>);

static WORKERS: Workers = Workers::new();

/// Does `work` in another thread; there `told` gets its result, once the thread is free again.
///
/// An error is that of a thread that cannot be started: nothing was done then.
pub(crate) fn run<T: 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    told: impl FnOnce(T) + Send + 'static,
) -> io::Result<()> {
    WORKERS.run(work, told)
}

impl Workers {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn run<T: 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
        told: impl FnOnce(T) + Send + 'static,
    ) -> io::Result<()> {
        let job: Job = Box::new(move || {
            let result = work();
            Box::new(move || told(result))
        });
        let idle = self.idle().pop();
        let sent = match idle {
            Some(thread) => thread.send(job),
            None => Err(SendError(job)),
        };
        let Err(SendError(job)) = sent else { return Ok(()) };
        let (sender, jobs) = mpsc::channel();
        let serve = move || self.serve(job, &sender, &jobs);
        thread::Builder::new().name("worker".to_owned()).spawn(serve).map(drop)
    }

    fn serve(&self, mut job: Job, own: &Sender<Job>, jobs: &Receiver<Job>) {
        loop {
            let told = job();
            self.idle().push(own.clone());
            told();
            match jobs.recv() {
                Ok(next) => job = next,
                Err(_) => return,
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::ThreadId;

    /// Apart from those of other tests.
    static OWN: Workers = Workers::new();

    fn started() -> (mpsc::Sender<()>, Receiver<ThreadId>) {
        let ((go, wait), (sender, answer)) = (mpsc::channel(), mpsc::channel());
        let work = move || {
            let _ = wait.recv();
            thread::current().id()
        };
        OWN.run(work, move |id| sender.send(id).unwrap()).unwrap();
        (go, answer)
    }

    #[test]
    fn a_thread_is_used_again_when_it_is_back_and_not_before() {
        let (go, first) = started();
        let (other_go, second) = started();
        drop(go);
        let id = first.recv().unwrap();
        let (go, third) = started();
        drop(go);
        assert_eq!(third.recv().unwrap(), id);
        drop(other_go);
        assert_ne!(second.recv().unwrap(), id);
    }
}
