//! Container images without a container engine: one layer, written as an archive that `ctr import`
//! and `docker load` read (Docker Image Specification v1.2).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::node::Node;
use crate::place::hex;

/// What an image holds and how it starts.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// `name:tag`.
    pub(crate) name: String,
    /// The command that a container runs by default.
    pub(crate) entry: Vec<String>,
    /// Files: from the host, to a path without a leading slash.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// Texts, to a path.
    pub(crate) texts: Vec<(String, String)>,
    /// Symbolic links: the target, and the link's path.
    pub(crate) links: Vec<(String, String)>,
}

impl Image {
    /// Writes the archive. The same content gives the same bytes.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("write {}", path.display()))?;
        self.archive(file)?.flush().with_context(|| format!("write {}", path.display()))
    }

    /// Where a file in it comes from.
    pub(crate) fn source(&self, path: &str) -> Result<&Path> {
        let found = self.files.iter().find(|(_, to)| to == path).map(|(from, _)| from.as_path());
        found.with_context(|| format!("the image {} has no {path}", self.name))
    }

    /// Makes it known to a node's container runtime, by way of the directory that both see.
    pub(crate) fn import(&self, node: &Node, share: &Path) -> Result<()> {
        self.write(&share.join("image.tar"))?;
        node.run("/opt/bin/ctr -n k8s.io images import /lab/image.tar && rm /lab/image.tar")
            .map(drop)
            .with_context(|| format!("bring the image {}", self.name))
    }

    /// The archive, to a file or another place.
    pub(crate) fn archive<W: Write>(&self, to: W) -> Result<W> {
        let layer = self.layer()?;
        let layer_id = hex(&Sha256::digest(&layer));
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": self.entry, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_id}")]},
        }))?;
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{layer_id}.tar");
        let manifest = serde_json::to_vec(&serde_json::json!([{
            "Config": config_name, "RepoTags": [self.name], "Layers": [layer_name],
        }]))?;
        let mut tar = tar::Builder::new(to);
        for (name, data) in
            [(config_name.as_str(), &config), (&layer_name, &layer), ("manifest.json", &manifest)]
        {
            add(&mut tar, name, data, 0o644)?;
        }
        Ok(tar.into_inner()?)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for dir in ["bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            tar.append_data(&mut header, dir, std::io::empty())?;
        }
        for (from, to) in &self.files {
            let data = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            add(&mut tar, to, &data, 0o755)?;
        }
        for (text, to) in &self.texts {
            add(&mut tar, to, text.as_bytes(), 0o644)?;
        }
        for (target, link) in &self.links {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, link, target)?;
        }
        Ok(tar.into_inner()?)
    }
}

fn add(tar: &mut tar::Builder<impl Write>, path: &str, data: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(data.len() as u64);
    Ok(tar.append_data(&mut header, path, data)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_gives_the_same_archive() {
        let image = Image {
            name: "lab/x:1".into(),
            entry: vec!["/bin/x".into()],
            texts: vec![("hello".into(), "etc/hello".into())],
            links: vec![("busybox".into(), "bin/sh".into())],
            ..Image::default()
        };
        let path = std::env::temp_dir().join(format!("ringway-image-{}.tar", std::process::id()));
        image.write(&path).unwrap();
        let first = fs::read(&path).unwrap();
        image.write(&path).unwrap();
        assert_eq!(first, fs::read(&path).unwrap());
        let mut names: Vec<String> = tar::Archive::new(&first[..])
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        names.sort();
        assert_eq!(names.last().unwrap(), "manifest.json");
        fs::remove_file(path).unwrap();
    }
}
