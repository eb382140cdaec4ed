//! A network of the test's own, with its own name server: ports 53 and 5060 are free in it, and nothing of the machine
//! is changed.

use std::ffi::CString;
use std::net::IpAddr;

use super::tool;

/// Moves this thread, and the threads and processes that it starts from now on, into a network of their own, in which
/// every address of 127.0.0.0/8 is theirs and `name_server` answers for DNS.
pub fn isolate(name_server: IpAddr) {
    // SAFETY: it changes the namespaces of this thread alone (unshare(2)).
    let is_moved = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET) } == 0;
    assert!(
        is_moved,
        "this test needs namespaces of its own: {}; run it as root, or by `unshare --map-root-user cargo nextest run`",
        std::io::Error::last_os_error()
    );
    mount("none", "/", libc::MS_REC | libc::MS_PRIVATE);
    let folder = tempfile::tempdir().unwrap().keep();
    for (file, text) in
        [("resolv.conf", format!("nameserver {name_server}\n")), ("nsswitch.conf", "hosts: files dns\n".to_owned())]
    {
        let ours = folder.join(file);
        std::fs::write(&ours, text).unwrap();
        let theirs = format!("/etc/{file}");
        if std::path::Path::new(&theirs).exists() {
            mount(ours.to_str().unwrap(), &theirs, libc::MS_BIND);
        }
    }
    // The mounts keep the files.
    std::fs::remove_dir_all(folder).unwrap();
    assert!(tool("ip", "iproute2").args(["link", "set", "lo", "up"]).status().unwrap().success());
}

fn mount(source: &str, target: &str, flags: libc::c_ulong) {
    let [source, path] = [source, target].map(|text| CString::new(text).unwrap());
    // SAFETY: both are NUL-terminated, and the other arguments may be null (mount(2)).
    let result = unsafe { libc::mount(source.as_ptr(), path.as_ptr(), std::ptr::null(), flags, std::ptr::null()) };
    assert_eq!(result, 0, "cannot mount {target}: {}", std::io::Error::last_os_error());
}
