//! `cargo lab compare`: our device plugin beside the SR-IOV network device plugin, answer by answer.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench::inside;
use crate::deploy;
use crate::lab::{self, Lab, Wish};
use crate::place::Place;
use crate::product;
use crate::progress::Progress;

const BINARIES: [&str; 2] = [product::BENCH[0], "ringway-device-plugin"];
/// The other one as the node knows it.
const PEER: &str = "peer-device-plugin";
/// Each is started twice.
const LIMIT: Duration = Duration::from_secs(600);

/// What `cargo lab compare` may be asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A sriov-network-device-plugin that was built by hand
    program: PathBuf,
    /// Answers that are alike, too
    #[arg(long)]
    all: bool,
}

/// As `ringway-bench answers` prints it.
#[derive(Debug, Deserialize, PartialEq)]
struct Answer {
    what: String,
    ours: Option<String>,
    peer: Option<String>,
}

/// Starts both, and prints where they differ.
pub(crate) fn run(place: &Place, options: &Options) -> Result<ExitCode> {
    let progress = Progress::new();
    if let Some(lab) = Lab::find(place) {
        deploy::card_is_free(&lab)?;
    }
    let binaries = product::build(place, &progress, &BINARIES)?;
    let (lab, lease) = Lab::up(place, &progress, Wish::default())?;
    let said = progress.step("start one and then the other", || {
        let (programs, peer) = ((&binaries[..], &BINARIES[..]), (Some(&*options.program), PEER));
        inside::run_beside(&lab, programs, "answers", peer, LIMIT)
    });
    if let Some(lease) = lease {
        drop(lease);
        progress.step("take the lab down", || lab::down(place).map(drop))?;
    }
    let answers: Vec<Answer> = serde_json::from_str(&said?).context("read what was answered")?;
    stdout().write_all(text(&answers, options.all).as_bytes()).context("print the answers")?;
    Ok(ExitCode::SUCCESS)
}

/// A paragraph for each answer: they are too long for columns.
fn text(answers: &[Answer], all: bool) -> String {
    let mut text = String::new();
    for Answer { what, ours, peer } in answers {
        match (ours, peer) {
            (ours, peer) if ours == peer && !all => {}
            (ours, peer) if ours == peer => {
                text += &format!("{what}\n  both     {}\n", shown(ours));
            }
            (ours, peer) => {
                text +=
                    &format!("{what}\n  sriovdp  {}\n  ringway  {}\n", shown(peer), shown(ours));
            }
        }
    }
    let alike = answers.iter().filter(|answer| answer.ours == answer.peer).count();
    text + &format!("{alike} answers alike, {} not\n", answers.len() - alike)
}

fn shown(answer: &Option<String>) -> &str {
    answer.as_deref().unwrap_or("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_shown_and_the_rest_is_counted() {
        let answer = |what: &str, ours: Option<&str>, peer: Option<&str>| Answer {
            what: what.to_owned(),
            ours: ours.map(str::to_owned),
            peer: peer.map(str::to_owned),
        };
        let answers = [answer("a", Some("1"), Some("1")), answer("b", Some("2"), None)];
        let differs = "b\n  sriovdp  nothing\n  ringway  2\n1 answers alike, 1 not\n";
        assert_eq!(text(&answers, false), differs);
        assert_eq!(text(&answers, true), format!("a\n  both     1\n{differs}"));
    }
}
