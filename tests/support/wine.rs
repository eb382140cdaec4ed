//! Wine for one test: a Windows of its own, and the Windows build that runs in it. It uses no other module, so that the
//! tests of the command can include it, too.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

/// A limit far above what any program needs. A program that exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// A Windows, fresh from its installation. What it changes is gone with it.
pub struct Wine {
    /// A program that waits for its input. Wine ends its services after its last program, and one that starts meanwhile may
    /// find them gone. A Windows is up all the time.
    stays_up: Child,
    prefix: TempDir,
}

/// The result of a program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Wine {
    pub fn new() -> Self {
        let home = target_folder().join("wine");
        let template = template(&home);
        let prefix = tempfile::Builder::new().prefix("prefix-").tempdir_in(&home).unwrap();
        copy_folder(&template, prefix.path(), false);
        let mut waits = wine(prefix.path());
        waits.arg("cmd.exe").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { stays_up: waits.spawn().unwrap(), prefix }
    }

    /// Drive C.
    pub fn drive_c(&self) -> PathBuf {
        self.prefix.path().join("drive_c")
    }

    /// A Windows program with its arguments: for more of them, and for its environment and folder, before `finish`.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut wine = wine(self.prefix.path());
        wine.arg(program).args(arguments);
        wine
    }

    /// Runs a program to its end, and kills it after a generous limit.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Ran {
        self.finish(self.command(program, arguments))
    }

    /// The same with a command of [`Wine::command`].
    pub fn finish(&self, command: Command) -> Ran {
        finish(command)
    }

    /// The same with something to read.
    pub fn finish_reading(&self, command: Command, input: Stdio) -> Ran {
        finish_reading(command, input)
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // The server of this Windows alone, with whatever still runs in it.
        let _ = in_prefix(tool("wineserver", "wine"), self.prefix.path()).arg("-k").status();
        let _ = self.stays_up.wait();
    }
}

/// The path of a file of ours, as a program in Wine knows it.
pub fn windows_path(path: &Path) -> String {
    let path = path.to_str().unwrap();
    assert!(path.starts_with('/'), "{path} is not absolute");
    format!("Z:{}", path.replace('/', "\\"))
}

/// The files that `make windows` has built.
pub struct WindowsBuild {
    pub dll: PathBuf,
    pub tool: PathBuf,
}

/// The release that is shipped.
pub fn windows_build() -> WindowsBuild {
    build("release")
}

/// The build in which PHONEGATE_FAULT works.
pub fn windows_debug_build() -> WindowsBuild {
    build("windows-dev")
}

fn build(profile: &str) -> WindowsBuild {
    let folder = target_folder().join("x86_64-pc-windows-gnu").join(profile);
    // Cargo has one list of sources for both, and may not have written down the few of the DLL alone.
    let of_the_dll = ["library/src/lib.rs", "library/build.rs", "windows/library.rc", "windows/messages.mc"];
    WindowsBuild {
        dll: fresh(&folder, "phonegate.dll", &of_the_dll, "cli"),
        tool: fresh(&folder, "phonegate.exe", &[], "library"),
    }
}

/// A file that was built after its last change: of those sources in cargo's list that are not below `foreign`, and of
/// these others.
fn fresh(folder: &Path, name: &str, others: &[&str], foreign: &str) -> PathBuf {
    let path = folder.join(name);
    assert!(path.exists(), "{} does not exist; run `make windows` first, as `make test` does", path.display());
    let built = changed(&path).unwrap();
    let listed = sources(&folder.join("phonegate.d"));
    let own = listed.into_iter().filter(|source| !source.starts_with(workspace().join(foreign)));
    let own = own.chain(others.iter().map(|source| workspace().join(source)));
    // A source that was taken away counts as changed.
    let newer = own.into_iter().find(|source| changed(source).is_none_or(|at| at > built));
    if let Some(source) = newer {
        panic!("{} is older than {}; run `make windows`, as `make test` does", path.display(), source.display());
    }
    path
}

/// The sources that cargo wrote down.
fn sources(dep_info: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(dep_info).unwrap_or_else(|error| panic!("{}: {error}", dep_info.display()));
    // A line is `target: source source …`, in which a blank inside a path has a backslash before it.
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .flat_map(|(_, sources)| {
            let marked = sources.replace("\\ ", "\0");
            marked.split(' ').map(|source| source.replace('\0', " ")).collect::<Vec<_>>()
        })
        .filter(|source| !source.is_empty())
        .map(PathBuf::from)
        .collect()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).unwrap_or_else(|| workspace().join("target"))
}

/// Whichever of its packages is tested.
fn workspace() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("Cargo.lock").exists()).unwrap()
}

/// A Windows to make others from, since making the first takes Wine many times longer than copying it. The first test
/// makes it for all tests, until Wine is upgraded.
fn template(home: &Path) -> PathBuf {
    fs::create_dir_all(home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let version = tool("wine", "wine wine64").arg("--version").env("WINEDEBUG", "-all").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version: String = version.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let template = home.join(format!("template-{version}"));
    if !template.exists() {
        let made = home.join("making");
        if made.exists() {
            // A test that was killed has left it.
            fs::remove_dir_all(&made).unwrap();
        }
        fs::create_dir(&made).unwrap();
        let mut boot = wine(&made);
        boot.args(["wineboot", "--init"]);
        let ran = finish(boot);
        assert_eq!(ran.code, Some(0), "wineboot: {}", ran.stderr);
        let mut server = in_prefix(tool("wineserver", "wine"), &made);
        // Waits until it is written to disk.
        server.arg("-w");
        let ran = finish(server);
        assert_eq!(ran.code, Some(0), "wineserver: {}", ran.stderr);
        stand_in(&made.join("drive_c/windows/system32"));
        fs::rename(&made, &template).unwrap();
    }
    template
}

/// Puts a bcryptprimitives.dll at its place in Windows.
fn stand_in(system: &Path) {
    let path = system.join("bcryptprimitives.dll");
    if !path.exists() {
        let source = tempfile::Builder::new().suffix(".c").tempfile().unwrap();
        fs::write(&source, include_str!("bcryptprimitives.c")).unwrap();
        let mut compiler = mingw("gcc");
        compiler.args(["-shared", "-Wall", "-Wextra", "-Werror"]).arg(source.path());
        let output = compiler.arg("-o").arg(path).arg("-ladvapi32").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A compiler for Windows, of C (gcc) or C++ (g++), or another program of its kind.
pub fn mingw(program: &str) -> Command {
    let package = match program {
        "gcc" => "gcc-mingw-w64-x86-64",
        "g++" => "g++-mingw-w64-x86-64",
        _ => "binutils-mingw-w64-x86-64",
    };
    tool(&format!("x86_64-w64-mingw32-{program}"), package)
}

fn wine(prefix: &Path) -> Command {
    let mut wine = in_prefix(tool("wine", "wine wine64"), prefix);
    // No window to ask for Mono or Gecko, no entries in the menus of the desktop. UTF-8 for the names of files.
    wine.env("WINEDLLOVERRIDES", "mscoree,mshtml,winemenubuilder.exe=").env("LC_ALL", "C.UTF-8");
    wine.env_remove("DISPLAY").env_remove("PHONEGATE_CONFIG");
    wine
}

fn in_prefix(mut command: Command, prefix: &Path) -> Command {
    command.env("WINEPREFIX", prefix).env("HOME", prefix).env("WINEDEBUG", "-all").env("WINEARCH", "win64");
    command
}

/// Runs any command to its end, and kills it after a generous limit. What it prints goes to files: the services of Wine
/// inherit a pipe, and would hold it open.
pub fn finish(command: Command) -> Ran {
    finish_reading(command, Stdio::null())
}

fn finish_reading(mut command: Command, input: Stdio) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
    command.stdin(input).stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() < LIMIT => thread::sleep(Duration::from_millis(20)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        }
    };
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    // Shown when the test fails.
    println!("{stdout}{stderr}");
    let code = code.unwrap_or_else(|| panic!("{command:?} hangs")).code();
    Ran { code, stdout, stderr }
}

/// Files of Windows itself are linked and the rest copied. A link out of the folder, to a user's own documents, becomes
/// an empty folder in the copy.
fn copy_folder(from: &Path, to: &Path, linked: bool) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        let copied: io::Result<()> = if kind.is_dir() {
            let linked = linked || source.ends_with("drive_c/windows");
            fs::create_dir(&target).map(|()| copy_folder(&source, &target, linked))
        } else if !kind.is_symlink() {
            if linked { fs::hard_link(&source, &target) } else { fs::copy(&source, &target).map(drop) }
        } else if from.file_name() == Some(OsStr::new("dosdevices")) {
            fs::read_link(&source).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else {
            fs::create_dir(&target)
        };
        copied.unwrap_or_else(|error| panic!("{} to {}: {error}", source.display(), target.display()));
    }
}

/// Returns a program that the tests need. If it is missing, fails and says how to install it.
fn tool(program: &str, debian_packages: &str) -> Command {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "this test needs {program}: apt-get install {debian_packages}");
    Command::new(program)
}
