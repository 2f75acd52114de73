//! `scripts/setup` on machines that lack something: what it would install, and what it says.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// A machine whose only programs are the ones given to it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// With the usual small tools and a new enough cargo; no apt, no compiler, no Python, no root.
    fn bare() -> Self {
        let machine = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        for dir in ["bin", "scripts"] {
            std::fs::create_dir(machine.dir.path().join(dir)).expect("a folder");
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup");
        std::fs::copy(script, machine.dir.path().join("scripts/setup")).expect("scripts/setup");
        let tools = "bash cat cut dirname env grep head ln ls mkdir mktemp mv rm sed sha256sum sort";
        for tool in tools.split(' ') {
            let found =
                ["/usr/bin", "/bin"].iter().map(|dir| Path::new(dir).join(tool)).find(|path| path.exists());
            symlink(found.expect(tool), machine.dir.path().join("bin").join(tool)).expect("a link");
        }
        machine
            .with("cargo", "echo 'cargo 1.97.0 (abc 2026-10-01)'")
            .with("id", "echo 1000")
            .with("uname", "echo x86_64")
    }

    /// Adds a program.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\n{script}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
        self
    }

    /// With an apt-get that writes down what it is asked, and nothing installed.
    fn debian(self) -> Self {
        self.with("dpkg-query", "exit 1").with("apt-get", "echo \"$*\" >>apt.log")
    }

    /// With a Python whose pip brings `wheel` as the content of the wheel.
    fn with_pip(self, wheel: &str) -> Self {
        let script = format!(
            "[ \"$3\" = download ] || exit 0\n\
             while [ \"$1\" != --dest ]; do shift; done\n\
             printf '{wheel}' >\"$2/onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl\""
        );
        self.with("python3", &script)
    }

    fn setup(&self, what: &str) -> Output {
        let bin = self.dir.path().join("bin");
        Command::new(bin.join("bash"))
            .arg(self.dir.path().join("scripts/setup"))
            .arg(what)
            .env_clear()
            .env("PATH", &bin)
            .env("HOME", self.dir.path())
            .output()
            .expect("bash")
    }

    fn apt_log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("apt.log")).unwrap_or_default()
    }
}

/// Asserts that set-up gave up, and that standard error holds every one of `parts`.
fn assert_gave_up(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in {said}");
    }
}

#[test]
fn without_apt_it_names_what_to_install_by_hand() {
    let output = Machine::bare().setup("run");
    assert_gave_up(&output, &["no apt-get", "a C compiler", "Python 3", "pkg-config", "GStreamer 1.22"]);
}

#[test]
fn without_apt_what_is_there_is_used() {
    let machine = Machine::bare().with("cc", "").with("pkg-config", "").with_pip("no wheel");
    // It gets as far as the library.
    assert_gave_up(&machine.setup("run"), &["is not the file that was pinned"]);
    let machine = Machine::bare()
        .with("cc", "")
        .with("python3", "")
        .with("pkg-config", "[ \"$2\" != gstreamer-rtsp-server-1.0 ]");
    assert_gave_up(&machine.setup("test"), &["no apt-get", "gstreamer-rtsp-server-1.0"]);
}

#[test]
fn without_root_or_sudo_it_says_what_root_would_run() {
    let machine = Machine::bare().debian();
    assert_gave_up(
        &machine.setup("run"),
        &["neither root nor is there sudo", "apt-get install --no-install-recommends", "libgstreamer1.0-dev"],
    );
    assert_eq!(machine.apt_log(), "");
}

#[test]
fn sudo_is_used_where_there_is_one_and_tests_need_more() {
    for (what, extra) in [("run", false), ("test", true)] {
        let machine = Machine::bare().debian().with("sudo", "exec \"$@\"").with_pip("no wheel");
        assert_gave_up(&machine.setup(what), &["is not the file that was pinned"]);
        let log = machine.apt_log();
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with(" update"), "{log}");
        assert!(lines[1].contains("install -y --no-install-recommends "), "{log}");
        assert!(lines[1].contains("gstreamer1.0-libav"), "{log}");
        assert_eq!(lines[1].contains("libgstrtspserver-1.0-dev"), extra, "{log}");
    }
}

#[test]
fn only_what_is_missing_is_installed() {
    let installed = "for p in \"${@:3}\"; do [ $p = pkg-config ] || echo \"$p installed\"; done";
    let machine =
        Machine::bare().debian().with("id", "echo 0").with("dpkg-query", installed).with_pip("no wheel");
    machine.setup("run");
    let log = machine.apt_log();
    assert!(log.ends_with("--no-install-recommends pkg-config\n"), "{log}");
}

#[test]
fn a_wheel_with_another_hash_is_not_used() {
    let machine = Machine::bare().debian().with("id", "echo 0").with_pip("tampered");
    assert_gave_up(
        &machine.setup("run"),
        &["is not the file that was pinned", "expected SHA-256 5752bd50", "received"],
    );
    let left: Vec<_> =
        std::fs::read_dir(machine.dir.path().join("runtime")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_old_or_missing_rust_is_explained() {
    let machine = Machine::bare().with("cargo", "echo 'cargo 1.63.0'");
    assert_gave_up(&machine.setup("run"), &["Rust 1.63 is too old", "rustup update"]);
    let machine = Machine::bare();
    std::fs::remove_file(machine.dir.path().join("bin/cargo")).expect("cargo");
    assert_gave_up(&machine.setup("run"), &["Rust 1.95 or later is missing", "https://sh.rustup.rs"]);
}

#[test]
fn a_machine_without_a_wheel_is_told_what_to_do() {
    let machine = Machine::bare().debian().with("id", "echo 0").with("uname", "echo riscv64");
    assert_gave_up(&machine.setup("run"), &["no ONNX Runtime wheel for riscv64", "onnxruntime = "]);
}
