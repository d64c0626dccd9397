//! The rings: which tests there are, and how each is run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::deploy;
use crate::lab::{self, Lab, Wish};
use crate::place::Place;
use crate::product::{self, Artifact};
use crate::progress::Progress;
use crate::run;
use crate::store::{Key, Store};
use crate::test::case::{Case, Outcome, RINGS};

/// The packages whose tests need the lab, by their directories: one runs in its node, one beside
/// its cluster.
const KERNEL_TESTS: &str = "tests/kernel";
const CLUSTER_TESTS: &str = "tests/e2e";
/// The module of the former that is a ring of its own: hundreds of kills, minutes each.
const FAULTS: &str = "faults::";
/// What the cluster's ring runs besides: the whole example, and the chart's own test.
const EXAMPLES: [&str; 2] = ["example", "helm"];
/// What the tests on the node call.
const NODE_BINARIES: [&str; 3] = ["ringway", "ringway-agent", "ringway-device-plugin"];
/// Checks licences and sources of dependencies; pinned, because its verdicts change.
const CARGO_DENY: &str = "0.20.2";
/// No hermetic test takes so long; a kernel test may, on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);
const FAULTS_LIMIT: Duration = Duration::from_secs(3600);
/// A cluster's test waits for pods, kubelet and controllers, one after the other.
const CLUSTER_LIMIT: Duration = Duration::from_secs(300);
/// The example boots a machine in an emulated machine.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(1200);

/// A test with the command that runs it on the host; kernel tests get theirs when the lab is up.
#[derive(Debug)]
struct Planned {
    case: Case,
    program: PathBuf,
    directory: PathBuf,
}

/// The selected tests.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    style: Vec<Case>,
    hermetic: Vec<Planned>,
    kernel: Vec<Planned>,
    cluster: Vec<Planned>,
    examples: Vec<Case>,
}

impl Rings {
    /// Compiles the tests that a filter may select, and selects.
    pub(crate) fn select(place: &Place, progress: &Progress, filter: Option<&str>) -> Result<Self> {
        let wanted = |ring: &str| filter.is_none_or(|f| f == ring || !RINGS.contains(&f));
        let mut rings = Self::default();
        if wanted("style") {
            rings.style = ["fmt", "clippy", "deny"]
                .map(|test| case("style", "workspace", test))
                .into_iter()
                .filter(|case| case.selected(filter))
                .collect();
        }
        if wanted("cluster") {
            rings.examples = EXAMPLES
                .map(|test| case("cluster", "lab", test))
                .into_iter()
                .filter(|case| case.selected(filter))
                .collect();
        }
        if ["hermetic", "kernel", "faults", "cluster"].into_iter().any(wanted) {
            let compiled = compile(place, progress)?;
            for planned in compiled.into_iter().filter(|planned| planned.case.selected(filter)) {
                match planned.case.ring {
                    // hundreds of kills take an hour: only for whoever asks for them
                    "faults" if filter.is_none() => {}
                    "kernel" | "faults" => rings.kernel.push(planned),
                    "cluster" => rings.cluster.push(planned),
                    _ => rings.hermetic.push(planned),
                }
            }
        }
        Ok(rings)
    }

    /// The names of all selected tests.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let planned = self.hermetic.iter().chain(&self.kernel).chain(&self.cluster);
        self.style.iter().chain(planned.map(|p| &p.case)).chain(&self.examples).map(Case::name)
    }

    /// Runs them, ring by ring.
    pub(crate) fn run(
        &self,
        place: &Place,
        progress: &Progress,
        show: &(dyn Fn(&Outcome) + Sync),
    ) -> Result<Vec<Outcome>> {
        if !self.kernel.is_empty()
            && let Some(lab) = Lab::find(place)
        {
            deploy::card_is_free(&lab)?;
        }
        let mut outcomes = Vec::new();
        for case in &self.style {
            let outcome = case.run(style(place, progress, &case.test)?, || None);
            show(&outcome);
            outcomes.push(outcome);
        }
        outcomes.extend(self.run_hermetic(show));
        let with_cluster = !self.cluster.is_empty() || !self.examples.is_empty();
        if !self.kernel.is_empty() || with_cluster {
            // all that is compiled is compiled before anything runs
            let image = deploy::image(place, progress)?;
            let images = with_cluster.then_some(&image);
            let wish = Wish { images: images.as_slice(), ..Wish::default() };
            let (lab, lease) = Lab::up(place, progress, wish)?;
            for binary in NODE_BINARIES {
                lab.install(image.source(&format!("bin/{binary}"))?, binary)?;
            }
            outcomes.extend(self.run_kernel(&lab, show)?);
            if with_cluster {
                deploy::product(place, &lab, &image, progress)?;
                outcomes.extend(self.run_cluster(&lab, show)?);
            }
            drop(lab);
            if lease.is_some() {
                drop(lease);
                lab::down(place)?;
            }
        }
        Ok(outcomes)
    }

    /// As many at a time as there are processors; each test is a process of its own.
    fn run_hermetic(&self, show: &(dyn Fn(&Outcome) + Sync)) -> Vec<Outcome> {
        let queue = Mutex::new(self.hermetic.iter());
        let outcomes = Mutex::new(Vec::new());
        let next = || queue.lock().ok()?.next();
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(planned) = next() {
                        let outcome = planned.case.run(planned.command_within(LIMIT), || None);
                        show(&outcome);
                        if let Ok(mut all) = outcomes.lock() {
                            all.push(outcome);
                        }
                    }
                });
            }
        });
        outcomes.into_inner().unwrap_or_default()
    }

    /// One at a time: they share a kernel. What its console says counts.
    fn run_kernel(&self, lab: &Lab, show: &dyn Fn(&Outcome)) -> Result<Vec<Outcome>> {
        let mut console = lab.console();
        console.broken(); // what was there before is not these tests' doing
        let mut installed: Option<&Path> = None;
        let mut outcomes = Vec::new();
        for planned in &self.kernel {
            if installed != Some(&planned.program) {
                lab.install(&planned.program, "tests")?;
                installed = Some(&planned.program);
            }
            let pace = lab.pace.factor();
            let inside = format!(
                "RINGWAY_PACE={pace} {} /opt/lab/tests --exact {} --include-ignored --nocapture",
                handed_on(|name| std::env::var(name).ok()),
                planned.case.test
            );
            let limit = if planned.case.ring == "faults" { FAULTS_LIMIT } else { LIMIT };
            let command = run::limited(&lab.node.command([inside]), limit.mul_f64(pace));
            let outcome = planned.case.run(command, || console.broken());
            show(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// How much of the faults ring runs, which a person says where the lab is started.
fn handed_on(variable: impl Fn(&str) -> Option<String>) -> String {
    let number = |value: &String| !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    ["RINGWAY_EVERY", "RINGWAY_CYCLES", "RINGWAY_SEED"]
        .into_iter()
        .filter_map(|name| variable(name).filter(number).map(|value| format!("{name}={value}")))
        .collect::<Vec<_>>()
        .join(" ")
}

impl Rings {
    /// After the kernel's tests, which leave the card at rest.
    fn run_cluster(&self, lab: &Lab, show: &dyn Fn(&Outcome)) -> Result<Vec<Outcome>> {
        let mut console = lab.console();
        console.broken();
        let mut outcomes = Vec::new();
        for planned in &self.cluster {
            let mut command = planned.command_within(CLUSTER_LIMIT.mul_f64(lab.pace.factor()));
            command
                .env("RINGWAY_LAB", std::env::current_exe()?)
                .env("RINGWAY_PACE", lab.pace.factor().to_string());
            let outcome = planned.case.run(command, || console.broken());
            show(&outcome);
            outcomes.push(outcome);
        }
        for case in &self.examples {
            let command = match case.test.as_str() {
                // pods and a virtual machine; a ping that loses anything fails it
                "example" => {
                    let mut demo = Command::new(std::env::current_exe()?);
                    demo.args(["demo", "--keep"]);
                    demo
                }
                _ => deploy::helm_test(lab),
            };
            let limit = EXAMPLE_LIMIT.mul_f64(lab.pace.factor());
            let outcome = case.run(run::limited(&command, limit), || console.broken());
            show(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl Planned {
    fn command_within(&self, limit: Duration) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--exact", &self.case.test, "--include-ignored", "--nocapture"])
            .current_dir(&self.directory)
            .env("CARGO_MANIFEST_DIR", &self.directory);
        run::limited(&command, limit)
    }
}

fn style(place: &Place, progress: &Progress, test: &str) -> Result<Command> {
    let mut command = run::cargo(place);
    match test {
        "fmt" => command.args(["fmt", "--all", "--check"]),
        "clippy" => command
            .args(["clippy", "--workspace", "--all-targets", "--quiet", "--"])
            .args(["--deny", "warnings"]),
        _ => {
            command = Command::new(cargo_deny(place, progress)?);
            command.current_dir(&place.checkout);
            // not offline: of crates for other systems, which nobody compiles here, it wants the
            // manifests all the same
            command.args(["--locked", "--config", ".deny.toml", "check"]);
            command.args(["bans", "licenses", "sources"])
        }
    };
    Ok(run::limited(&command, run::COMPILE))
}

fn cargo_deny(place: &Place, progress: &Progress) -> Result<PathBuf> {
    let store = Store::open(&place.cache, progress)?;
    let part = store.part("cargo-deny", Key::new(1).with(CARGO_DENY), |site| {
        let mut install = run::contained("cargo");
        install
            .args(["install", "--locked", "--version", CARGO_DENY, "cargo-deny", "--root"])
            .arg(site.out)
            .env("CARGO_TARGET_DIR", site.scratch)
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .current_dir(site.scratch);
        run::logged(install, site.log)
    })?;
    Ok(part.path("bin/cargo-deny"))
}

/// Compiles every test of the workspace, in one go for the reason that [`product::build`] gives.
fn compile(place: &Place, progress: &Progress) -> Result<Vec<Planned>> {
    let mut command = run::cargo(place);
    command.args(["test", "--no-run", "--workspace"]);
    command.args(["--message-format=json-render-diagnostics"]);
    let messages =
        progress.step("compile the tests", || run::output(run::limited(&command, run::COMPILE)))?;
    let mut planned = Vec::new();
    let tests = product::executables(&messages)?.into_iter().filter(|a| a.profile.test);
    for Artifact { executable, manifest_path, target, .. } in tests {
        let Some(program) = executable else { continue };
        let directory = manifest_path.parent().unwrap_or(&place.checkout).to_owned();
        let suite = suite(place, &directory, &target.name);
        for test in list(&program, &directory)? {
            let ring = match &directory {
                dir if dir.ends_with(CLUSTER_TESTS) => "cluster",
                dir if !dir.ends_with(KERNEL_TESTS) => "hermetic",
                _ if test.starts_with(FAULTS) => "faults",
                _ => "kernel",
            };
            let (program, directory) = (program.clone(), directory.clone());
            planned.push(Planned { case: case(ring, &suite, &test), program, directory });
        }
    }
    planned.sort_by_key(|p| (RINGS.iter().position(|ring| *ring == p.case.ring), p.case.name()));
    Ok(planned)
}

/// A suite is named as the tree names it: the package's directory, and the binary in it.
fn suite(place: &Place, directory: &Path, target: &str) -> String {
    let below = directory.strip_prefix(&place.checkout).unwrap_or(directory).display();
    format!("{below}:{}", target.trim_start_matches("ringway_").trim_start_matches("ringway-"))
}

fn list(program: &Path, directory: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(program);
    command.args(["--list", "--format", "terse", "--include-ignored"]).current_dir(directory);
    let text = run::output(command).context("list the tests of a program")?;
    Ok(text.lines().filter_map(|l| l.strip_suffix(": test")).map(str::to_owned).collect())
}

fn case(ring: &'static str, suite: &str, test: &str) -> Case {
    Case { ring, suite: suite.into(), test: test.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_alone_go_on_to_the_node() {
        let variable = |name: &str| match name {
            "RINGWAY_EVERY" => Some("31".to_owned()),
            "RINGWAY_CYCLES" => Some("1; reboot".to_owned()),
            _ => None,
        };
        assert_eq!(handed_on(variable), "RINGWAY_EVERY=31");
    }
}
