//! Compiles the shim and the C# host as a MIM server would, and runs the host: under Mono, or in Microsoft's .NET for
//! Windows under Wine.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::wine::{self, Wine, mingw, windows_path};
use crate::support::{built_library, project_folder, target_folder, tool};

const CONTRACT: &str = "Microsoft.IdentityManagement.PhoneServiceProviderContract.dll";
/// The compiler's options for each generation of .NET, and the language that its compiler in Windows knows.
const CLR_2: [&str; 2] = ["-sdk:2", "-langversion:3"];
const CLR_4: [&str; 2] = ["-sdk:4.5", "-langversion:5"];
/// The folder, below the target folder, into which `scripts/install-tools windows` unpacks .NET for Windows.
const DOTNET: &str = "dotnetcore2-3.1.23/dotnetcore2/bin/dotnet.exe";

/// A host in one folder, and the shim in another, whose name breaks code that treats paths as URLs.
pub struct Mim {
    root: TempDir,
    system: System,
    environment: Vec<(String, PathBuf)>,
}

/// The runtime of the host.
pub enum System {
    /// Mono.
    Linux,
    /// .NET Core 3.1.
    Windows(Wine),
}

/// The numbers of the contract's statuses.
#[derive(Clone, Copy, PartialEq)]
pub enum Numbers {
    /// The order of the names in MIM's documentation.
    Listed,
    Others,
}

/// The output of a run of the host. Each line is a `Vec` of its fields.
pub struct Run {
    pub code: Option<i32>,
    pub lines: Vec<Vec<String>>,
    pub stderr: String,
}

impl Mim {
    pub fn on_linux(numbers: Numbers) -> Self {
        Self::on(System::Linux, numbers, CLR_2)
    }

    /// Host, contract and shim for CLR 4, as on a server without .NET 3.5.
    pub fn of_clr_4(numbers: Numbers) -> Self {
        Self::on(System::Linux, numbers, CLR_4)
    }

    pub fn on_windows(numbers: Numbers) -> Self {
        Self::on(System::Windows(Wine::new()), numbers, CLR_2)
    }

    fn on(system: System, numbers: Numbers, clr: [&str; 2]) -> Self {
        let mim = Self { root: TempDir::new().unwrap(), system, environment: Vec::new() };
        fs::create_dir(mim.root.path().join("host")).unwrap();
        fs::create_dir(mim.shim_folder()).unwrap();

        let contract = mim.root.path().join("host").join(CONTRACT);
        let reference = format!("-r:{}", contract.display());
        let mut options = vec!["-target:library"];
        options.extend((numbers == Numbers::Others).then_some("-define:OTHER_NUMBERS"));
        compile_csharp(&contract, clr, &options, &["shim/contract/PhoneServiceProvider.cs"]);
        compile_csharp(&mim.shim(), clr, &["-target:library", &reference], &["shim/CustomPhoneGate.cs"]);
        let host =
            ["MimHost.cs", "Caller.cs", "BadInputs.cs", "Faults.cs"].map(|file| format!("tests/mim_host/{file}"));
        compile_csharp(&mim.host(), clr, &[&reference, "-r:System.Xml.dll"], &host.each_ref().map(String::as_str));

        let settings = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<AnyRoot><!-- kept --><LOCMFA>1</LOCMFA>\
             <CustomPhoneProvider>{}</CustomPhoneProvider></AnyRoot>",
            mim.path_in_host(&mim.shim())
        );
        fs::write(mim.settings(), settings).unwrap();
        // For `dotnet exec`.
        let runtime = r#"{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"}}}"#;
        fs::write(mim.runtime(), runtime).unwrap();
        mim
    }

    /// The same with `library` in the shim's folder.
    pub fn library(self, library: &Path) -> Self {
        fs::copy(library, self.library_path()).unwrap();
        self
    }

    /// The same with a fake library, built with these options, in the shim's folder.
    pub fn fake(self, options: &[&str]) -> Self {
        self.fake_in(&self.shim_folder(), options);
        self
    }

    /// Builds a fake library in this folder, and returns its path.
    pub fn fake_in(&self, folder: &Path, options: &[&str]) -> PathBuf {
        let path = folder.join(self.library_name());
        let mut compiler = match self.system {
            System::Linux => tool("gcc", "gcc libc6-dev"),
            System::Windows(_) => mingw("gcc"),
        };
        compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared"]);
        if let System::Linux = self.system {
            // A runtime may find a loaded library by this name, as every runtime does on Windows.
            compiler.args(["-fPIC", "-Wl,-soname,libphonegate.so"]);
        }
        compiler.arg("-I").arg(project_folder().join("include")).args(options);
        compiler.arg(project_folder().join("tests/support/fake_phonegate.c"));
        succeed(compiler.arg("-o").arg(&path));
        path
    }

    /// The same with a fake library that a search by name would find.
    pub fn decoy(self, options: &[&str]) -> Self {
        match &self.system {
            System::Linux => {
                let elsewhere = self.root.path().join("decoy");
                fs::create_dir(&elsewhere).unwrap();
                self.fake_in(&elsewhere, options);
                self.environment("LD_LIBRARY_PATH", &elsewhere)
            }
            System::Windows(wine) => {
                self.fake_in(&wine.drive_c().join("windows/system32"), options);
                self
            }
        }
    }

    /// The same with an environment variable for the host.
    pub fn environment(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this `phonegate.json` in the library's folder.
    pub fn configuration(self, json: &str) -> Self {
        fs::write(self.shim_folder().join("phonegate.json"), json).unwrap();
        self
    }

    pub fn folder(&self) -> &Path {
        self.root.path()
    }

    pub fn log_folder(&self) -> PathBuf {
        self.root.path().join("log")
    }

    pub fn shim_folder(&self) -> PathBuf {
        self.root.path().join("gate #1 %41 \u{fc}")
    }

    /// The path at which the shim looks for the library.
    pub fn library_path(&self) -> PathBuf {
        self.shim_folder().join(self.library_name())
    }

    fn library_name(&self) -> &'static str {
        match self.system {
            System::Linux => "libphonegate.so",
            System::Windows(_) => "phonegate.dll",
        }
    }

    /// The library that `make` has built.
    pub fn built_library(&self) -> PathBuf {
        match self.system {
            System::Linux => built_library(),
            System::Windows(_) => wine::windows_build().dll,
        }
    }

    /// Changes the header of the library to that of a 32-bit one.
    pub fn spoil_bitness(&self) {
        let path = self.library_path();
        let mut library = fs::read(&path).unwrap();
        match self.system {
            System::Linux => {
                assert_eq!(library[4], 2, "EI_CLASS: ELFCLASS64");
                library[4] = 1;
            }
            System::Windows(_) => {
                let header = u32::from_le_bytes(library[0x3c..0x40].try_into().unwrap()) as usize;
                let machine = header + 4..header + 6;
                assert_eq!(library[machine.clone()], [0x64, 0x86], "IMAGE_FILE_MACHINE_AMD64");
                library[machine].copy_from_slice(&[0x4c, 0x01]);
            }
        }
        fs::write(&path, library).unwrap();
    }

    /// Returns a path in the host's syntax.
    pub fn path_in_host(&self, path: &Path) -> String {
        match self.system {
            System::Linux => path.to_str().unwrap().to_owned(),
            System::Windows(_) => windows_path(path),
        }
    }

    pub fn shim(&self) -> PathBuf {
        self.shim_folder().join("CustomPhoneGate.dll")
    }

    pub fn host_folder(&self) -> PathBuf {
        self.root.path().join("host")
    }

    fn host(&self) -> PathBuf {
        self.host_folder().join("MimHost.exe")
    }

    fn settings(&self) -> PathBuf {
        self.root.path().join("MfaSettings.xml")
    }

    fn runtime(&self) -> PathBuf {
        self.host_folder().join("MimHost.runtimeconfig.json")
    }

    /// Places the calls: `number;expected status;what its failure message must contain`.
    pub fn place(&self, mode: &str, calls: &[String], options: &[&str]) -> Run {
        let file = self.root.path().join("calls.txt");
        fs::write(&file, calls.join("\n")).unwrap();
        let file = self.path_in_host(&file);
        let mut arguments = vec![mode, &file];
        arguments.extend(options);
        self.run(&arguments)
    }

    /// Runs the host with what follows the path of its settings.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut host = match &self.system {
            System::Linux => {
                let mut mono = tool("mono", "mono-devel");
                mono.arg(self.host()).arg(self.settings());
                mono
            }
            System::Windows(wine) => {
                let paths = [self.runtime(), self.host(), self.settings()].map(|path| windows_path(&path));
                let mut dotnet = wine.command(&dotnet(), &["exec", "--runtimeconfig", &paths[0], &paths[1], &paths[2]]);
                // This runtime has no culture data.
                dotnet.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1");
                dotnet
            }
        };
        host.args(arguments).env_remove("PHONEGATE_CONFIG");
        host.envs(self.environment.iter().map(|(name, value)| (name, self.path_in_host(value))));
        let ran = wine::finish(host);
        let lines = ran.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
        Run { code: ran.code, lines, stderr: ran.stderr }
    }
}

impl Run {
    /// Returns the lines of one kind, without their first field.
    pub fn of(&self, kind: &str) -> Vec<&[String]> {
        self.lines
            .iter()
            .filter_map(|line| line.split_first())
            .filter(|(first, _)| *first == kind)
            .map(|(_, rest)| rest)
            .collect()
    }

    /// Returns the status and the failure message of the only call.
    pub fn only_call(&self) -> (&str, &str) {
        match self.of("call").as_slice() {
            [[_, _, _, status, message]] => (status, message),
            other => panic!("not one call: {other:?}"),
        }
    }
}

fn compile_csharp(output: &Path, clr: [&str; 2], options: &[&str], sources: &[&str]) {
    let mut compiler = tool("mcs", "mono-mcs mono-devel");
    compiler.args(clr).arg("-warnaserror").args(options);
    compiler.arg(format!("-out:{}", output.display())).args(sources.iter().map(|source| project_folder().join(source)));
    succeed(&mut compiler);
}

fn dotnet() -> PathBuf {
    let path = target_folder().join(DOTNET);
    assert!(path.exists(), "this test needs {}: run `scripts/install-tools windows`", path.display());
    path
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
