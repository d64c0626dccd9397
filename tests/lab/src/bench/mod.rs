//! `cargo lab bench`: figures of the product and of the lab, each beside what it is held against.
//! They are printed, and never asserted.

mod cni;
mod idle;
pub(crate) mod inside;
mod memory;
mod node;
mod observe;
mod plugin;
pub(crate) mod record;
mod row;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use self::record::Start;
use self::row::Row;
use crate::demo;
use crate::deploy;
use crate::image::Image;
use crate::lab::{self, Lab, Wish};
use crate::place::Place;
use crate::product;
use crate::progress::Progress;
use crate::store;

/// What the image may hold, in MiB.
const IMAGE_BAR: f64 = 40.0;
const MIB: f64 = 1_048_576.0;
/// What there is to be done where half of the demo's figures is missing.
const NEVER_COLD: &str = "no demo on record began with an empty cache: `XDG_CACHE_HOME=$(mktemp -d) \
                          cargo lab bench demo` does, and shows both";

/// What `cargo lab bench` may be asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The beginning of figures' names, such as demo, cni or cni.add; none measures everything
    what: Option<String>,
    /// What was built by hand to be measured beside ours: sriov-network-device-plugin for plugin.*,
    /// sriov-cni for cni.*
    #[arg(long, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    /// How the rows are printed; progress goes to standard error
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table
    Text,
    /// An array of objects
    Json,
}

/// Which figures are asked for, by what must be done for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    /// To be read only.
    cold: bool,
    /// A run of the demo.
    warm: bool,
    /// The product, compiled.
    image: bool,
    /// A lab whose card is free.
    cni: bool,
    /// The same.
    node: bool,
    /// A lab.
    observe: bool,
    /// A lab whose card is free.
    plugin: bool,
    /// A lab with the product in it, and the example's policy.
    idle: bool,
    /// A lab with the product in it, and the example's policy.
    memory: bool,
}

/// Measures what is asked for and prints it. What was measured before something failed is printed
/// all the same.
pub(crate) fn run(place: &Place, options: &Options) -> Result<ExitCode> {
    let filter = options.what.as_deref().unwrap_or_default();
    let wanted = Wanted::of(filter)?;
    ensure!(
        options.beside.is_none() || wanted.cni != wanted.plugin,
        "--beside: ask for either cni or plugin figures, as the program is"
    );
    let progress = Progress::new();
    let mut rows = Vec::new();
    let beside = options.beside.as_deref();
    let measured = measure(place, wanted, beside, &progress, &mut rows);
    rows.retain(|row| row.name().starts_with(filter));
    if !rows.is_empty() {
        let text = match options.format {
            Format::Text => row::text(&rows),
            Format::Json => row::json(&rows)?,
        };
        stdout().write_all(text.as_bytes()).context("print the figures")?;
    }
    measured?;
    ensure!(!rows.is_empty(), "{filter}: no figure that was measured is named so");
    Ok(ExitCode::SUCCESS)
}

impl Wanted {
    fn of(filter: &str) -> Result<Self> {
        // the steps of the demo are known once it has run
        let open = |prefix: &str| prefix.starts_with(filter) || filter.starts_with(prefix);
        let any = |names: &[&str]| names.iter().any(|name| name.starts_with(filter));
        let wanted = Self {
            cold: open("demo.cold."),
            warm: open("demo.warm."),
            image: any(&["image.size"]),
            cni: any(&cni::FIGURES),
            node: any(&node::FIGURES),
            observe: any(&observe::figures()),
            plugin: any(&plugin::figures()),
            idle: any(&idle::figures()),
            memory: any(&["agent.rss", "plugin.rss", "operator.rss"]),
        };
        ensure!(
            wanted != Self::default(),
            "no figure is named {filter}: there are agent.rss, demo.cold.*, demo.warm.*, image.size, \
             operator.rss, plugin.rss, {}",
            [
                &cni::FIGURES[..],
                &node::FIGURES,
                &observe::figures(),
                &plugin::figures(),
                &idle::figures()
            ]
            .concat()
            .join(", ")
        );
        Ok(wanted)
    }
}

impl Wanted {
    /// Whether the product must be installed.
    fn installed(self) -> bool {
        self.idle || self.memory
    }
}

fn measure(
    place: &Place,
    wanted: Wanted,
    beside: Option<&Path>,
    progress: &Progress,
    rows: &mut Vec<Row>,
) -> Result<()> {
    if let Some(lab) = Lab::find(place) {
        ensure!(
            !wanted.warm,
            "the lab {} is up, and the demo's figures are of one that starts: `cargo lab down` first",
            place.name
        );
        if wanted.cni || wanted.node || wanted.plugin {
            deploy::card_is_free(&lab)?;
        }
    }
    if wanted.cold || wanted.warm {
        rows.extend(demo(place, wanted, progress)?);
    }
    let image = match wanted.image || wanted.installed() {
        true => Some(deploy::image(place, progress)?),
        false => None,
    };
    if let Some(image) = image.as_ref().filter(|_| wanted.image) {
        rows.push(progress.step("write the image", || size(image))?);
    }
    if wanted.cni || wanted.node || wanted.observe || wanted.plugin || wanted.installed() {
        in_lab(place, wanted, (image.as_ref(), beside), progress, rows)?;
    }
    Ok(())
}

/// Lets the demo run until it has run warm, and gives what it has written down.
fn demo(place: &Place, wanted: Wanted, progress: &Progress) -> Result<Vec<Row>> {
    if wanted.warm {
        let mut shown = demo::show(place, false)?;
        if shown.start != Start::Warm {
            progress.say("the demo had parts to build: once more, without");
            shown = demo::show(place, false)?;
        }
        ensure!(
            shown.lossless,
            "the demo lost pings, so that its times say nothing: `cargo lab demo`"
        );
        ensure!(shown.start == Start::Warm, "parts had to be built twice: is the cache in use?");
    }
    let records = record::read(&place.cache)?;
    let mut rows = Vec::new();
    if wanted.cold {
        rows.extend(records.cold(|part| store::build_time(&place.cache, part)));
        if !records.has_cold() {
            ensure!(wanted.warm || !rows.is_empty(), "{NEVER_COLD}");
            progress.say(NEVER_COLD);
        }
    }
    if wanted.warm {
        rows.extend(records.warm());
    }
    Ok(rows)
}

fn size(image: &Image) -> Result<Row> {
    let bytes = u32::try_from(image.archive(Vec::new())?.len()).context("an image below 4 GiB")?;
    Ok(Row::new("image.size", f64::from(bytes) / MIB, "MiB").against("bar", IMAGE_BAR))
}

fn in_lab(
    place: &Place,
    wanted: Wanted,
    (image, beside): (Option<&Image>, Option<&Path>),
    progress: &Progress,
    rows: &mut Vec<Row>,
) -> Result<()> {
    // all that is compiled is compiled before anything runs
    let build = |wanted: bool, binaries: &[&str]| match wanted {
        true => product::build(place, progress, binaries),
        false => Ok(Vec::new()),
    };
    let of_cni = build(wanted.cni, &cni::BINARIES)?;
    let of_node = build(wanted.node, &node::BINARIES)?;
    let of_observe = build(wanted.observe, &observe::BINARIES)?;
    let of_plugin = build(wanted.plugin, &plugin::BINARIES)?;
    let (lab, lease) = Lab::up(place, progress, Wish::default())?;
    let measured = (|| {
        let mut console = lab.console();
        console.broken(); // what was there before is not this run's doing
        // first what needs the card at rest, then what carves it
        if wanted.cni {
            let what = "attach and detach, again and again";
            rows.extend(progress.step(what, || cni::measure(&lab, &of_cni, beside))?);
        }
        if wanted.node {
            let what = "carve and change, again and again";
            rows.extend(progress.step(what, || node::measure(&lab, &of_node))?);
        }
        if wanted.observe {
            let what = "look at 256 functions, again and again";
            rows.extend(progress.step(what, || observe::measure(&lab, &of_observe))?);
        }
        if wanted.plugin {
            let what = "start the device plugin and ask it, again and again";
            rows.extend(progress.step(what, || plugin::measure(&lab, &of_plugin, beside))?);
        }
        if let Some(image) = image.filter(|_| wanted.installed()) {
            deploy::product(place, &lab, image, progress)?;
            deploy::policy(place, &lab, progress)?;
        }
        if wanted.memory {
            rows.extend(progress.step("look at the daemons' memory", || memory::measure(&lab))?);
        }
        if wanted.idle {
            rows.extend(progress.step("let the daemons rest", || idle::measure(&lab))?);
        }
        match console.broken() {
            Some(oops) => bail!("the node's kernel broke meanwhile:\n{oops}"),
            None => Ok(()),
        }
    })();
    if let Some(lease) = lease {
        drop(lease);
        progress.step("take the lab down", || lab::down(place).map(drop))?;
    }
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_the_beginning_of_a_name() {
        let nothing = Wanted::default();
        let both = Wanted { cold: true, warm: true, ..nothing };
        let (image, observe, plugin, idle, memory) = (true, true, true, true, true);
        for (filter, expected) in [
            ("", Wanted { image, cni: true, node: true, observe, plugin, idle, memory, ..both }),
            ("agent", Wanted { observe, idle, memory: true, ..nothing }),
            ("agent.plan", Wanted { observe, ..nothing }),
            ("plugin.wakeups", Wanted { idle, ..nothing }),
            ("plugin.many", Wanted { plugin, ..nothing }),
            ("plugin", Wanted { plugin, idle, memory, ..nothing }),
            ("demo", both),
            ("demo.w", Wanted { warm: true, ..nothing }),
            ("demo.cold", Wanted { cold: true, ..nothing }),
            ("demo.cold.build-node", Wanted { cold: true, ..nothing }),
            ("cni", Wanted { cni: true, ..nothing }),
            ("cni.del", Wanted { cni: true, ..nothing }),
            ("node.ca", Wanted { node: true, ..nothing }),
            ("operator.rss", Wanted { memory: true, ..nothing }),
            ("image", Wanted { image: true, ..nothing }),
        ] {
            assert_eq!(Wanted::of(filter).unwrap(), expected, "{filter}");
        }
        for filter in ["rss", "cni.add.cpu.more", "demo.hot", "demo.coldest"] {
            let error = Wanted::of(filter).unwrap_err().to_string();
            assert!(error.contains(&format!("named {filter}:")), "{error}");
        }
    }

    #[test]
    fn the_size_is_the_archives() {
        let image = Image {
            name: "lab/x:1".into(),
            texts: vec![("x".repeat(1 << 20), "etc/x".into())],
            ..Image::default()
        };
        let row = size(&image).unwrap();
        let path = std::env::temp_dir().join(format!("ringway-size-{}.tar", std::process::id()));
        image.write(&path).unwrap();
        let bytes = std::fs::metadata(&path).unwrap().len();
        std::fs::remove_file(path).unwrap();
        let bytes = f64::from(u32::try_from(bytes).unwrap());
        assert_eq!(row, Row::new("image.size", bytes / MIB, "MiB").against("bar", IMAGE_BAR));
    }
}
