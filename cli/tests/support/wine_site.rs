//! A Windows server with Microsoft Identity Manager for tests, in Wine: the service FIMService in its folder, and an
//! unpacked bundle of PhoneGate.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::site::{SETTINGS, mcs, repository};
use crate::wine::{Ran, WindowsBuild, Wine, mingw, windows_path};

const SERVICE: &str = r"C:\MIM\2010\Service";
pub const SHIM: &str = r"C:\MIM\2010\Service\CustomPhoneGate.dll";
pub const CONFIG: &str = r"C:\bundle\phonegate.json";
const FIM_SERVICE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\FIMService";
const EVENT_SOURCE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\PhoneGate";

pub struct WineSite {
    wine: Wine,
    /// Whether the tool is that of a released bundle, which knows the hash of its library.
    is_released: bool,
}

impl WineSite {
    /// Creates a site with a registered service and without an installation. The service runs as Wine's user, who owns
    /// all files: Wine has no other owner.
    pub fn new(build: &WindowsBuild) -> Self {
        let site = Self::unregistered(build, "MIM/2010/Service");
        let image = format!("binPath= \"{SERVICE}\\Microsoft.ResourceManagement.Service.exe\" -service");
        let sc = Path::new("sc.exe");
        let (name, image) = image.split_once(' ').unwrap();
        let ran = site.wine.run(sc, &["create", "FIMService", name, image, "start=", "demand"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let user = site.wine.run(Path::new("cmd.exe"), &["/c", "echo", "%USERNAME%"]);
        site.run_as(&format!(r".\{}", user.stdout.trim()));
        site
    }

    /// Creates a site whose service is registered with another account.
    pub fn run_as(&self, account: &str) {
        let set = ["add", FIM_SERVICE, "/v", "ObjectName", "/d", account, "/f"];
        let ran = self.wine.run(Path::new("reg.exe"), &set);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    /// Creates a site with a folder of the service, which is not registered.
    pub fn unregistered(build: &WindowsBuild, folder: &str) -> Self {
        let is_released = build.tool.parent().is_some_and(|profile| profile.ends_with("release"));
        let site = Self { wine: Wine::new(), is_released };
        let service = site.wine.drive_c().join(folder);
        fs::create_dir_all(&service).unwrap();
        fs::create_dir(site.bundle()).unwrap();
        fs::write(service.join("MfaSettings.xml"), SETTINGS).unwrap();
        let contract = service.join("Contoso.Contract.dll");
        mcs(&[
            "-target:library".to_owned(),
            format!("-out:{}", contract.display()),
            repository("shim/contract/PhoneServiceProvider.cs"),
        ]);
        // A link, because the programs with injected faults are large.
        fs::hard_link(&build.tool, site.bundle().join("phonegate.exe")).unwrap();
        fs::hard_link(&build.dll, site.bundle().join("phonegate.dll")).unwrap();
        let config = crate::support::simulated(None, 0).to_string();
        fs::write(site.bundle().join("phonegate.json"), config).unwrap();
        site.compile("csc.c", &site.bundle().join("csc.exe"));
        compiles_by(&site.bundle(), "mcs -sdk:2 -langversion:3");
        site.compile("service.c", &service.join("Microsoft.ResourceManagement.Service.exe"));
        site
    }

    fn compile(&self, source: &str, program: &Path) {
        let source = format!("{}/tests/support/{source}", env!("CARGO_MANIFEST_DIR"));
        let mut gcc = mingw("gcc");
        let output = gcc.args(["-Wall", "-Wextra", "-Werror", &source, "-o"]).arg(program).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Turns it into a server with only .NET Framework 4: its compiler is installed, and the contract is for CLR 4.
    pub fn with_clr_4_alone(&self) {
        let framework = self.wine.drive_c().join("windows/Microsoft.NET/Framework64");
        let folder = framework.join("v4.0.30319");
        fs::create_dir_all(&folder).unwrap();
        assert!(!framework.join("v3.5").exists() && !framework.join("v2.0.50727/mscorwks.dll").exists());
        fs::rename(self.bundle().join("csc.exe"), folder.join("csc.exe")).unwrap();
        compiles_by(&folder, "mcs -sdk:4.5 -langversion:5");
        let out = format!("-out:{}", self.service().join("Contoso.Contract.dll").display());
        let mut mcs = std::process::Command::new("mcs");
        mcs.args(["-sdk:4.5", "-target:library", &out]).arg(repository("shim/contract/PhoneServiceProvider.cs"));
        let ran = mcs.status().expect("this test needs mcs: apt-get install mono-mcs mono-devel");
        assert!(ran.success());
        let both = "<supportedRuntime version=\"v2.0.50727\"/><supportedRuntime version=\"v4.0\"/>";
        let config = format!("<configuration><startup>{both}</startup></configuration>");
        fs::write(self.service().join("Microsoft.ResourceManagement.Service.exe.config"), config).unwrap();
    }

    pub fn bundle(&self) -> PathBuf {
        self.wine.drive_c().join("bundle")
    }

    pub fn service(&self) -> PathBuf {
        self.wine.drive_c().join("MIM/2010/Service")
    }

    pub fn state(&self) -> PathBuf {
        self.wine.drive_c().join("ProgramData/PhoneGate")
    }

    pub fn settings(&self) -> String {
        fs::read_to_string(self.service().join("MfaSettings.xml")).unwrap()
    }

    pub fn settings_with_shim() -> String {
        crate::site::settings_with(SHIM)
    }

    /// Returns a command of the bundle's tool.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], fault: &str) -> Ran {
        let mut command = self.wine.command(&self.bundle().join("phonegate.exe"), arguments);
        command.env("PHONEGATE_FAULT", fault);
        self.wine.finish(command)
    }

    pub fn install(&self, arguments: &[&str]) -> Ran {
        self.install_with(arguments, "")
    }

    pub fn install_with(&self, arguments: &[&str], fault: &str) -> Ran {
        let csc = windows_path(&self.bundle().join("csc.exe"));
        let mut all = vec!["install", "--allow-test-backends", "--csc", &csc];
        if !self.is_released && !arguments.contains(&"--trust-folder") {
            all.push("--trust-folder");
        }
        if !self.service().join("phonegate.json").exists() && self.bundle().join("phonegate.json").exists() {
            all.extend(["--config", CONFIG]);
        }
        all.extend(arguments);
        self.run_with(&all, fault)
    }

    /// Returns the files in the service's folder, large ones shortened.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.service()).unwrap();
        let file = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), excerpt(&entry.path()));
        entries.map(|entry| file(entry.unwrap())).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// Returns the library that the source of the Event Log names.
    pub fn event_source(&self) -> Option<String> {
        let ran = self.wine.run(Path::new("reg.exe"), &["query", EVENT_SOURCE, "/v", "EventMessageFile"]);
        let line = ran.stdout.lines().find_map(|line| line.split_once("REG_EXPAND_SZ"));
        line.map(|(_, value)| value.trim().to_owned())
    }

    /// Returns the lines that the service has written.
    pub fn service_log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.service().join("service.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Asserts that the installation is complete and has no other files.
    #[track_caller]
    pub fn is_installed(&self) {
        let mut names = self.names();
        names.retain(|name| !name.contains("phonegate-backup") && name != "service.log");
        let expected = [
            "Contoso.Contract.dll",
            "CustomPhoneGate.dll",
            "MfaSettings.xml",
            "Microsoft.ResourceManagement.Service.exe",
            "phonegate.dll",
            "phonegate.exe",
            "phonegate.json",
            "phonegate.schema.json",
        ];
        assert_eq!(names, expected);
        assert_eq!(self.settings(), Self::settings_with_shim());
        for name in ["phonegate.dll", "phonegate.exe"] {
            let same = fs::read(self.service().join(name)).unwrap() == fs::read(self.bundle().join(name)).unwrap();
            assert!(same, "{name}");
        }
        assert_eq!(self.event_source().as_deref(), Some(r"C:\MIM\2010\Service\phonegate.dll"));
    }
}

/// Writes the script to which csc.exe passes its options.
fn compiles_by(folder: &Path, compiler: &str) {
    let csc = folder.join("csc.sh");
    let body = format!(
        "cd \"$(dirname \"$0\")\"\n{compiler} \"$@\" > csc.out 2>&1\necho $? > csc.ended\nmv csc.ended csc.done\n"
    );
    fs::write(&csc, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(&csc, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns the JSON lines of a command.
pub fn records(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Returns the length of a file, its beginning and its end, to save memory.
fn excerpt(path: &Path) -> Vec<u8> {
    const END: usize = 65536;
    let contents = fs::read(path).unwrap();
    match contents.len() {
        length if length <= 2 * END => contents,
        length => [&contents[..END], &contents[length - END..], &length.to_le_bytes()].concat(),
    }
}
