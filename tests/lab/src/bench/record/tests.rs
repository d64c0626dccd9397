use super::*;

#[test]
fn a_step_has_a_short_name() {
    for (step, expected) in [
        ("build kubernetes", "build-kubernetes"),
        ("compile the product", "compile-product"),
        ("boot the node (tcg)", "boot-node"),
        ("boot it, and let it ping both pods", "boot-ping-pods"),
        ("ping rings-b from rings-a", "ping-rings-b-rings-a"),
        ("wait until the node is ready", "wait-node-ready"),
        ("bring the image to the node", "bring-image-node"),
        ("see whether KVM boots the node's kernel", "see-kvm-boots"),
        ("start a virtual machine", "start-virtual-machine"),
        ("helm install", "helm-install"),
        ("the", ""),
    ] {
        assert_eq!(slug(step), expected);
    }
}

#[test]
fn a_run_begins_cold_warm_or_in_between() {
    let set = |names: &[&str]| names.iter().map(|n| Path::new("/c/parts").join(n)).collect();
    let check = |before: &[&str], after: &[&str], expected| {
        assert_eq!(Start::of(&set(before), &set(after)), expected, "{before:?} {after:?}");
    };
    check(&[], &["node-1", "disk-1"], Start::Cold);
    check(&["cargo-deny-1"], &["cargo-deny-1", "node-1"], Start::Cold);
    check(&["node-1"], &["node-1"], Start::Warm);
    check(&["node-1"], &["node-1", "cargo-deny-1"], Start::Warm);
    // swept, because nobody had used it for long
    check(&["node-0", "node-1"], &["node-1"], Start::Warm);
    check(&["node-1", "disk-1"], &["node-1", "disk-1", "disk-2"], Start::Between);
}

struct Cache(PathBuf);

impl Cache {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("ringway-record-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn steps(names: &[(&str, u64)]) -> Vec<(String, Duration)> {
    names.iter().map(|(name, s)| ((*name).to_owned(), Duration::from_secs(*s))).collect()
}

#[test]
fn the_last_run_of_each_kind_is_remembered() {
    let cache = Cache::new("kinds");
    let keep = |start, name: &str, total| {
        keep(&cache.0, start, &steps(&[(name, 1)]), Duration::from_millis(total)).unwrap();
    };
    keep(Start::Warm, "a", 2500);
    keep(Start::Cold, "b", 9000);
    keep(Start::Between, "c", 5000);
    keep(Start::Warm, "d", 3000);
    let records = read(&cache.0).unwrap();
    assert_eq!(
        records.warm(),
        [
            Row::new("demo.warm.d", 1.0, "s"),
            Row::new("demo.warm.total", 3.0, "s").against("aim", 240.0)
        ]
    );
    assert_eq!(
        records.cold(|_| panic!("the run itself is remembered")),
        [
            Row::new("demo.cold.b", 1.0, "s"),
            Row::new("demo.cold.total", 9.0, "s").against("aim", 1200.0)
        ]
    );
    let names: Vec<_> = fs::read_dir(&cache.0).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["demo.json"], "nothing else stays");
}

#[test]
fn equal_steps_are_one_row() {
    let record = Record {
        total: 9.0,
        steps: [("compile the product", 5.0), ("helm install", 2.0), ("compile the product", 1.5)]
            .map(|(what, seconds)| Step { what: what.into(), seconds })
            .into(),
    };
    assert_eq!(
        record.rows("demo.warm", 10.0),
        [
            Row::new("demo.warm.compile-product", 6.5, "s"),
            Row::new("demo.warm.helm-install", 2.0, "s"),
            Row::new("demo.warm.total", 9.0, "s").against("aim", 10.0),
        ]
    );
}

#[test]
fn without_a_cold_run_the_parts_speak_for_themselves() {
    let cache = Cache::new("parts");
    let records = read(&cache.0).unwrap();
    assert!(!records.has_cold());
    assert_eq!(records.warm(), []);
    assert_eq!(records.cold(|_| None), []);
    let built = |name: &str| (name == "disk").then_some(61.5);
    assert_eq!(records.cold(built), [Row::new("demo.cold.build-disk", 61.5, "s")]);
}

#[test]
fn a_broken_record_is_told_and_written_anew() {
    let cache = Cache::new("broken");
    fs::write(cache.0.join("demo.json"), "{").unwrap();
    let error = format!("{:#}", read(&cache.0).unwrap_err());
    assert!(error.contains("demo.json: not as"), "{error}");
    keep(&cache.0, Start::Warm, &steps(&[("a", 1)]), Duration::from_secs(2)).unwrap();
    assert_eq!(read(&cache.0).unwrap().warm().len(), 2);
}

#[test]
fn a_record_that_cannot_be_written_names_its_file() {
    let error = keep(Path::new("/nonexistent"), Start::Warm, &[], Duration::ZERO).unwrap_err();
    assert!(format!("{error:#}").starts_with("write /nonexistent/demo.json: "), "{error:#}");
}
