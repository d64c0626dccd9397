//! Says what is wrong once, not every few seconds.

use std::collections::BTreeMap;

/// What was last said about each topic.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: BTreeMap<String, String>,
}

impl Complaints {
    /// Logs `problem` about `topic` if it is new, and its end if there was one and is no more.
    pub(crate) fn about(&mut self, topic: &str, problem: Option<String>) {
        match problem {
            None => {
                if self.said.remove(topic).is_some() {
                    tracing::info!(topic, "solved");
                }
            }
            Some(problem) if self.said.get(topic) != Some(&problem) => {
                tracing::warn!(topic, error = problem);
                self.said.insert(topic.to_owned(), problem);
            }
            Some(_) => {}
        }
    }

    /// Whether there is a problem with a topic.
    pub(crate) fn has(&self, topic: &str) -> bool {
        self.said.contains_key(topic)
    }

    /// Whether there is any problem.
    pub(crate) fn any(&self) -> bool {
        !self.said.is_empty()
    }

    /// There is no such topic any more.
    pub(crate) fn forget(&mut self, topic: &str) {
        self.said.remove(topic);
    }
}
