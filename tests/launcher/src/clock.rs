//! What is said, with the time since the start.

use std::time::{Duration, Instant};

/// Counts from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts to count.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// A line for a person.
    pub fn say(&self, text: &str) {
        println!("{}", line(self.0.elapsed(), text));
    }
}

fn line(elapsed: Duration, text: &str) -> String {
    format!("[{:5.1} s] {text}", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_begins_with_the_time() {
        let line = super::line(std::time::Duration::from_millis(1234), "text");
        assert_eq!(line, "[  1.2 s] text");
    }
}
