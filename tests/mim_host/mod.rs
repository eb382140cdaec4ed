//! Compiles the shim and the C# host as a MIM server would, and runs the host under Mono.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{project_folder, tool};

const CONTRACT: &str = "Microsoft.IdentityManagement.PhoneServiceProviderContract.dll";
/// Far more than any run needs: whoever exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// A host in one folder, and the shim in another, whose name is hard on whoever takes paths for URLs.
pub struct Mim {
    root: TempDir,
    environment: Vec<(String, PathBuf)>,
}

/// What a run of the host printed, a line a `Vec` of its fields.
pub struct Run {
    pub code: Option<i32>,
    pub lines: Vec<Vec<String>>,
}

impl Mim {
    /// Against MIM's contract as its documentation lists it.
    pub fn new() -> Self {
        Self::compiled_against(&[])
    }

    /// Against a contract whose statuses have other numbers.
    pub fn with_other_numbers() -> Self {
        Self::compiled_against(&["-define:OTHER_NUMBERS"])
    }

    fn compiled_against(contract_options: &[&str]) -> Self {
        let mim = Self { root: TempDir::new().unwrap(), environment: Vec::new() };
        fs::create_dir(mim.root.path().join("host")).unwrap();
        fs::create_dir(mim.shim_folder()).unwrap();

        let contract = mim.root.path().join("host").join(CONTRACT);
        let reference = format!("-r:{}", contract.display());
        let mut options = vec!["-target:library"];
        options.extend(contract_options);
        compile_csharp(&contract, &options, &["shim/contract/PhoneServiceProvider.cs"]);
        compile_csharp(&mim.shim(), &["-target:library", &reference], &["shim/CustomPhoneGate.cs"]);
        let host = ["MimHost.cs", "Caller.cs", "Insults.cs"].map(|file| format!("tests/mim_host/{file}"));
        compile_csharp(&mim.host(), &[&reference, "-r:System.Xml.dll"], &host.each_ref().map(String::as_str));

        let settings = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<AnyRoot><!-- kept --><LOCMFA>1</LOCMFA>\
             <CustomPhoneProvider>{}</CustomPhoneProvider></AnyRoot>",
            mim.shim().display()
        );
        fs::write(mim.settings(), settings).unwrap();
        mim
    }

    /// The same with `library` beside the shim.
    pub fn library(self, library: &Path) -> Self {
        fs::copy(library, self.shim_folder().join("libphonegate.so")).unwrap();
        self
    }

    /// The same with a fake library, built with these options, beside the shim.
    pub fn fake(self, options: &[&str]) -> Self {
        fake_library(&self.shim_folder(), options);
        self
    }

    /// The same with an environment variable for the host.
    pub fn environment(mut self, name: &str, value: &Path) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this `phonegate.json` beside the library.
    pub fn configuration(self, json: &str) -> Self {
        fs::write(self.shim_folder().join("phonegate.json"), json).unwrap();
        self
    }

    pub fn folder(&self) -> &Path {
        self.root.path()
    }

    pub fn shim_folder(&self) -> PathBuf {
        self.root.path().join("gate #1 %41 \u{fc}")
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

    /// Places the calls: `number;expected status;what its failure message must contain`.
    pub fn place(&self, mode: &str, calls: &[String], options: &[&str]) -> Run {
        let file = self.root.path().join("calls.txt");
        fs::write(&file, calls.join("\n")).unwrap();
        let mut arguments = vec![mode, file.to_str().unwrap()];
        arguments.extend(options);
        self.run(&arguments)
    }

    /// Runs the host with what follows the path of its settings.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self.root.path().join("output");
        let errors = self.root.path().join("errors");
        let mut host = tool("mono", "mono-devel")
            .arg(self.host())
            .arg(self.settings())
            .args(arguments)
            .env_remove("PHONEGATE_CONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let code = loop {
            match host.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if started.elapsed() < LIMIT => thread::sleep(Duration::from_millis(20)),
                None => {
                    host.kill().unwrap();
                    host.wait().unwrap();
                    panic!("the host hangs: {}", fs::read_to_string(&output).unwrap());
                }
            }
        };
        let text = fs::read_to_string(&output).unwrap();
        // Shown when the test fails.
        println!("{text}{}", fs::read_to_string(&errors).unwrap());
        Run { code, lines: text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect() }
    }
}

impl Run {
    /// The lines of one kind, without the word that names it.
    pub fn of(&self, kind: &str) -> Vec<&[String]> {
        self.lines
            .iter()
            .filter_map(|line| line.split_first())
            .filter(|(first, _)| *first == kind)
            .map(|(_, rest)| rest)
            .collect()
    }

    /// The status and the failure message of the only call.
    pub fn only_call(&self) -> (&str, &str) {
        match self.of("call").as_slice() {
            [[_, _, _, status, message]] => (status, message),
            other => panic!("not one call: {other:?}"),
        }
    }
}

fn compile_csharp(output: &Path, options: &[&str], sources: &[&str]) {
    let mut compiler = tool("mcs", "mono-mcs mono-devel");
    compiler.args(["-sdk:2", "-langversion:3", "-warnaserror"]).args(options);
    compiler.arg(format!("-out:{}", output.display())).args(sources.iter().map(|source| project_folder().join(source)));
    succeed(&mut compiler);
}

/// Builds `libphonegate.so` in `folder` from the fake.
pub fn fake_library(folder: &Path, options: &[&str]) {
    let mut compiler = tool("gcc", "gcc libc6-dev");
    // The name inside is what a runtime may look a loaded library up by, as every runtime does on Windows.
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libphonegate.so"]);
    compiler.arg("-I").arg(project_folder().join("include")).args(options);
    compiler.arg(project_folder().join("tests/support/fake_phonegate.c"));
    succeed(compiler.arg("-o").arg(folder.join("libphonegate.so")));
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
