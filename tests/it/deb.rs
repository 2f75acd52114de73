//! The Debian package: what is in it, what it asks for, and that its scripts and paths hold.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn run(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().expect("it starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said.into_owned()
}

/// A package of the tested program, unpacked with its control files into `DEBIAN/`.
pub struct Package {
    dir: tempfile::TempDir,
    pub deb: PathBuf,
}

impl Package {
    pub fn build() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(root().join("scripts/deb"));
        command
            .arg(env!("CARGO_BIN_EXE_sigmawatch"))
            .arg(dir.path().join("out"))
            .env("DEB_COMPRESSION", "none");
        let deb = PathBuf::from(run(&mut command).trim());
        let package = Self { dir, deb };
        run(Command::new("dpkg-deb")
            .arg("--raw-extract")
            .arg(&package.deb)
            .arg(package.dir.path().join("root")));
        package
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name.trim_start_matches('/'))
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn field(&self, name: &str) -> String {
        run(Command::new("dpkg-deb").arg("--field").arg(&self.deb).arg(name)).trim().to_owned()
    }
}

#[test]
fn the_package_holds_what_its_unit_and_configuration_name_and_asks_for_what_it_runs_with() {
    let package = Package::build();
    // The name is the usual one.
    let architecture = package.field("Architecture");
    let name = format!("sigmawatch_{}_{architecture}.deb", env!("CARGO_PKG_VERSION"));
    assert_eq!(package.deb.file_name().expect("a file").to_str(), Some(&*name));
    assert_eq!(package.field("Version"), env!("CARGO_PKG_VERSION"));

    // Every GStreamer plugin set that set-up installs to run is asked for.
    let setup = std::fs::read_to_string(root().join("scripts/setup")).expect("scripts/setup");
    let listed = setup.split("packages=(").nth(1).and_then(|s| s.split(')').next()).expect("a list");
    let depends = package.field("Depends");
    let depends: BTreeSet<&str> =
        depends.split(", ").filter_map(|one| one.split_whitespace().next()).collect();
    let plugins: Vec<&str> =
        listed.split_whitespace().filter(|one| one.starts_with("gstreamer1.0-")).collect();
    assert_eq!(plugins.len(), 4, "{listed}");
    assert!(plugins.iter().all(|one| depends.contains(one)), "{plugins:?} {depends:?}");

    // Every configuration file is a conffile, so that updates ask before they replace it.
    let conffiles = package.read("DEBIAN/conffiles");
    for file in
        ["config.toml", "pipelines/rtsp.pipeline", "pipelines/file.pipeline", "pipelines/v4l2.pipeline"]
    {
        let path = format!("/etc/sigmawatch/{file}");
        assert!(conffiles.lines().any(|line| line == path) && package.path(&path).is_file(), "{path}");
    }

    // What the unit starts is in it, and so is what the configuration names.
    let unit = package.read("lib/systemd/system/sigmawatch.service");
    let starts: Vec<&str> = unit.lines().filter(|line| line.starts_with("ExecStart")).collect();
    assert_eq!(starts.len(), 1, "{unit}");
    for line in starts {
        let mut words = line.split_once('=').expect("a value").1.split_whitespace();
        let (program, configuration) = (words.next().expect("a program"), words.last().expect("a path"));
        let mode = std::fs::metadata(package.path(program)).expect(program).permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{program}");
        assert!(package.path(configuration).is_file(), "{configuration}");
    }
    assert!(!unit.contains("/usr/local"), "{unit}");
    let configuration = package.read("etc/sigmawatch/config.toml");
    let named = |key: &str| {
        let line = configuration.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        line.unwrap_or_else(|| panic!("{key}")).trim_end_matches('"').to_owned()
    };
    assert!(package.path(&named("onnxruntime")).is_file());
    assert_eq!(named("dir"), "/var/lib/sigmawatch", "the unit's StateDirectory");

    // The manual and both licences.
    let doc = "usr/share/doc/sigmawatch";
    for file in ["copyright", "LICENSE-APACHE", "README.md", "guide/integrators.md", "ref/api.md"] {
        assert!(package.path(&format!("{doc}/{file}")).is_file(), "{file}");
    }
    assert!(package.read(&format!("{doc}/copyright")).contains("Permission is hereby granted"));
    assert!(package.path(&format!("{doc}/examples/sigmawatch-gpu.conf")).is_file());

    // The user that the configuration is given to is the one that is made.
    assert!(package.read("usr/lib/sysusers.d/sigmawatch.conf").contains("\nu sigmawatch "));
    assert!(unit.contains("\nDynamicUser=yes"), "it takes the user of the unit's name");
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(package.path(&format!("DEBIAN/{script}"))));
    }
    // The shipped configuration is good where the package's files are.
    let mine = configuration
        .replace("/usr/lib/sigmawatch", package.path("usr/lib/sigmawatch").to_str().expect("UTF-8"));
    std::fs::write(package.path("etc/sigmawatch/config.toml"), mine).expect("written");
    let mut check = Command::new(package.path("usr/bin/sigmawatch"));
    check.arg("check").arg("--config").arg(package.path("etc/sigmawatch/config.toml"));
    assert!(run(&mut check).contains("good"));
}

/// Runs a maintainer script where the tools it calls only write down how they were called.
fn called(script: &str, arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let log = dir.path().join("log");
    for tool in ["systemctl", "systemd-sysusers", "chown", "chmod", "rm"] {
        let path = dir.path().join(tool);
        let text = format!("#!/bin/sh\necho {tool} \"$@\" >>{}\n", log.display());
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }
    // As if systemd ran.
    let text = std::fs::read_to_string(root().join("packaging").join(script)).expect(script);
    let text = text.replace("/run/systemd/system", dir.path().to_str().expect("UTF-8"));
    std::fs::write(dir.path().join(script), text).expect("written");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    run(Command::new("sh").arg(dir.path().join(script)).args(arguments).env("PATH", path));
    std::fs::read_to_string(&log).unwrap_or_default()
}

#[test]
fn it_starts_when_installed_stays_as_it_was_when_updated_and_keeps_data_until_purged() {
    let installed = called("postinst", &["configure", ""]);
    let expected = [
        "systemd-sysusers sigmawatch.conf",
        "chown root:sigmawatch /etc/sigmawatch/config.toml",
        "chmod 640 /etc/sigmawatch/config.toml",
        "systemctl daemon-reload",
        "systemctl enable sigmawatch.service",
        "systemctl is-enabled --quiet sigmawatch.service",
        "systemctl restart sigmawatch.service",
    ];
    assert_eq!(installed.lines().collect::<Vec<_>>(), expected);
    let updated = called("postinst", &["configure", "0.0.9"]);
    assert!(!updated.contains(" enable ") && !updated.contains("chmod"), "{updated}");
    assert!(updated.contains("systemctl restart"), "{updated}");
    assert_eq!(called("prerm", &["remove"]), "systemctl disable --now sigmawatch.service\n");
    assert_eq!(called("prerm", &["upgrade", "0.2.0"]), "");
    assert_eq!(called("postrm", &["remove"]), "systemctl daemon-reload\n");
    assert!(called("postrm", &["purge"]).contains("rm -rf /var/lib/sigmawatch"));
}
