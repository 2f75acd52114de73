//! The systemd unit and its variant for graphics cards: how much systemd itself says is left open.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit, perhaps with the drop-in, in a folder of their own.
fn unit(dir: &Path, gpu: bool) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let unit = dir.join("sigmawatch.service");
    std::fs::copy(shipped.join("sigmawatch.service"), &unit).expect("copied");
    if gpu {
        let drop_ins = dir.join("sigmawatch.service.d");
        std::fs::create_dir(&drop_ins).expect("a folder");
        std::fs::copy(shipped.join("sigmawatch-gpu.conf"), drop_ins.join("gpu.conf")).expect("copied");
    }
    unit
}

/// What systemd-analyze says of a unit: the overall exposure, and its whole table.
fn exposure(gpu: bool) -> (f64, String) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let unit = unit(dir.path(), gpu);
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&unit)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()))
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C")
        .output()
        .expect("systemd-analyze (Debian package systemd; `make test` installs it)");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = table
        .lines()
        .rev()
        .find_map(|line| line.split_once("Overall exposure level for")?.1.split_once(": "));
    let level = said.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("Unknown key") && !errors.contains("ignoring"), "{errors}");
    let open: Vec<&str> = table.lines().filter(|line| !line.starts_with('✓')).collect();
    let open = open.join("\n");
    (level.unwrap_or_else(|| panic!("no level in {table}\n{errors}")), open)
}

#[test]
fn little_is_left_open_by_the_unit_and_little_more_for_a_graphics_card() {
    for (gpu, most) in [(false, 1.5), (true, 2.0)] {
        let (level, table) = exposure(gpu);
        println!("exposure {level} (gpu: {gpu}; at most {most})");
        assert!(level <= most, "exposure {level}, at most {most} (gpu: {gpu}):\n{table}");
        // The drop-in was read: what it opens is in the table, and only then.
        assert_eq!(table.contains("char-nvidia"), gpu, "{table}");
    }
}

#[test]
fn what_the_daemon_needs_is_left_to_it() {
    let text = include_str!("../../systemd/sigmawatch.service");
    for needed in [
        "Type=notify",
        "StateDirectory=sigmawatch",
        "CacheDirectory=sigmawatch",
        "Environment=GST_REGISTRY=/var/cache/sigmawatch/",
        "SystemCallFilter=setpriority",
        "SystemCallErrorNumber=EPERM",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    ] {
        assert!(text.lines().any(|line| line.starts_with(needed)), "{needed}");
    }
}
