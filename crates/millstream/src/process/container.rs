//! Whether this process runs in a container, where the first process must not end.

use std::path::Path;

/// What container runtimes write into the control groups of the first process. SRS looks for the first only,
/// which a container with a group namespace of its own no longer shows.
const GROUPS: [&str; 4] = ["/docker", "/kubepods", "/libpod", "/lxc"];

/// Init programs that container runtimes put before the program.
const INITS: [&str; 4] = ["docker-init", "tini", "dumb-init", "catatonit"];

/// As much of the list of groups as SRS reads.
const READ: usize = 1024;

/// Whether there are signs of a container. `/.dockerenv` is none: virtual machines made from images have it.
pub(super) fn detected() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::process::id() == 1
        || set("KUBERNETES_SERVICE_HOST")
        || set("container")
        || shown_below(Path::new("/proc/1"), Path::new("/run"))
}

fn shown_below(first_process: &Path, run: &Path) -> bool {
    let read = |name| std::fs::read(first_process.join(name)).unwrap_or_default();
    let groups = read("cgroup");
    let groups = String::from_utf8_lossy(&groups[..groups.len().min(READ)]);
    let init = String::from_utf8_lossy(&read("comm")).trim().to_owned();
    GROUPS.iter().any(|name| groups.contains(name))
        || INITS.contains(&init.as_str())
        || run.join(".containerenv").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_a_container() {
        let dir = std::env::temp_dir().join(format!("millstream-container-{}", std::process::id()));
        let shown = |cgroup: &str, comm: &str| {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("cgroup"), cgroup).unwrap();
            std::fs::write(dir.join("comm"), comm).unwrap();
            shown_below(&dir, Path::new("/nowhere"))
        };
        assert!(!shown("0::/init.scope\n", "systemd\n"));
        assert!(shown("12:pids:/docker/0123456789ab\n", "srs\n"));
        assert!(shown("0::/kubepods.slice/pod1\n", "srs\n"));
        assert!(shown("0::/\n", "docker-init\n"));
        let late = format!("{}/docker", "x".repeat(READ));
        assert!(!shown(&late, "systemd\n"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!shown_below(&dir, Path::new("/nowhere")));
    }
}
