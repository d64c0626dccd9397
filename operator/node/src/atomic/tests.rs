use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn write_replaces_content_and_mode_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    for (bytes, mode) in [(&b"one"[..], 0o600), (b"two", 0o444), (b"", 0o666)] {
        write(&path, bytes, mode).unwrap();
        assert_eq!(read(&path, 3).unwrap(), bytes);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
    }
    assert_eq!(names(dir.path()), ["a.json"]);
}

#[test]
fn write_replaces_a_symlink_and_not_its_target() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    std::fs::write(&target, "kept").unwrap();
    symlink(&target, &link).unwrap();
    write(&link, b"new", 0o644).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"kept");
    assert!(link.symlink_metadata().unwrap().is_file());
}

#[test]
fn failed_write_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("taken");
    std::fs::create_dir(&path).unwrap();
    let error = write(&path, b"x", 0o644).unwrap_err();
    assert!(error.to_string().starts_with("rename to "), "{error}");
    assert_eq!(names(dir.path()), ["taken"]);
}

#[test]
fn write_to_an_absent_directory_or_to_no_name_fails() {
    let dir = tempfile::tempdir().unwrap();
    assert!(write(&dir.path().join("no/file"), b"", 0o644).unwrap_err().is_not_found());
    assert!(matches!(write(Path::new("/"), b"", 0o644), Err(Error::NotAFilePath { .. })));
}

#[test]
fn read_refuses_what_is_not_a_small_regular_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let link = dir.path().join("link");
    let pipe = dir.path().join("pipe");
    std::fs::write(&file, "12345").unwrap();
    symlink(&file, &link).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

    assert_eq!(read(&file, 5).unwrap(), b"12345");
    assert!(matches!(read(&file, 4), Err(Error::TooLarge { limit: 4, .. })));
    assert!(matches!(read(&link, 5), Err(Error::Symlink { .. })));
    assert!(matches!(read(&pipe, 5), Err(Error::NotRegular { .. })));
    assert!(matches!(read(dir.path(), 5), Err(Error::NotRegular { .. })));
    assert!(read(&dir.path().join("absent"), 5).unwrap_err().is_not_found());
}

#[test]
fn leftovers_of_ours_go_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (written, writer) = create_temp(dir.path(), "a.json".as_ref()).unwrap();
    let written = written.file_name().unwrap().to_str().unwrap();
    assert_eq!(temp_target(written), Some("a.json"), "{written}");
    let kept = ["a.json", ".a.json", ".a.json.swp", ".a.json.12-", ".b.json.12-0", "a.json.12-0"];
    for name in kept.into_iter().chain([".a.json.12-0", ".a.json.17bb-1"]) {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let left = || {
        remove_leftovers(dir.path(), |target| target == "a.json").unwrap();
        names(dir.path())
    };
    let mut expected = kept.map(str::to_owned).to_vec();
    expected.sort();
    drop(writer);
    assert_eq!(left(), expected);
    remove_leftovers(&dir.path().join("absent"), |_| true).unwrap();
}

#[test]
fn a_file_that_is_being_written_is_no_leftover() {
    let dir = tempfile::tempdir().unwrap();
    let (temp, writer) = create_temp(dir.path(), "a.json".as_ref()).unwrap();
    remove_leftovers(dir.path(), |_| true).unwrap();
    assert!(temp.exists());
    drop(writer);
    remove_leftovers(dir.path(), |_| true).unwrap();
    assert!(!temp.exists());
}

#[test]
fn writes_go_on_while_somebody_clears_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| (0..200).try_for_each(|_| write(&path, b"whole", 0o600)));
        while !writes.is_finished() {
            remove_leftovers(dir.path(), |_| true).unwrap();
        }
        writes.join().unwrap().unwrap();
    });
    assert_eq!(names(dir.path()), ["a.json"]);
    assert_eq!(read(&path, 5).unwrap(), b"whole");
}

#[test]
fn remove_is_content_with_an_absent_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "").unwrap();
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert!(remove(dir.path()).is_err());
}
