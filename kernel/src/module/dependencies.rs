//! The files that depmod writes: `modules.dep` and `modules.builtin` (man 5 modules.dep).

/// The files to insert for a module, what it needs first; `None` if the list does not have it.
pub(super) fn files<'a>(modules_dep: &'a str, module: &str) -> Option<Vec<&'a str>> {
    let wanted = normal(module);
    let (file, needs) = modules_dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(file, _)| name(file) == wanted)?;
    // depmod writes everything that is needed, indirectly too, and the first last.
    let mut files: Vec<&str> = needs.split_whitespace().rev().collect();
    files.push(file);
    Some(files)
}

/// Whether `modules.builtin` has a module.
pub(super) fn is_listed(modules_builtin: &str, module: &str) -> bool {
    let wanted = normal(module);
    modules_builtin.lines().any(|file| name(file) == wanted)
}

/// The module's name of a file: `vp_vdpa` for `kernel/drivers/vdpa/virtio_pci/vp-vdpa.ko.xz`.
pub(super) fn name(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    normal(base.split_once(".ko").map_or(base, |(name, _)| name))
}

/// The kernel's spelling of a module's name.
pub(super) fn normal(module: &str) -> String {
    module.replace('-', "_")
}
