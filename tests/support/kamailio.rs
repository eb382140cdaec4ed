//! A SIP proxy and registrar, Kamailio: it challenges requests, accepts registrations, and forwards calls.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::ports::free_port;

/// The password that it accepts.
pub const PASSWORD: &str = "open-sesame";

/// A running proxy.
pub struct Proxy {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Proxy {
    /// Starts a proxy that challenges with this digest algorithm. It forwards a call to the telephone that is registered for
    /// the number, otherwise to a port of this machine.
    pub fn start(algorithm: &str, to_port: u16) -> Self {
        let port = free_port();
        let config = CONFIG
            .replace("PORT", &port.to_string())
            .replace("TARGET", &to_port.to_string())
            .replace("ALGORITHM", algorithm)
            .replace("PASSWORD", PASSWORD);
        Self::with_config(&config, port)
    }

    /// Starts a proxy of the example in docs/backends.md.
    pub fn of_documents(to_port: u16) -> Self {
        let text = std::fs::read_to_string(super::project_folder().join("docs/backends.md")).unwrap();
        let (_, example) = text.split_once("```kamailio\n").unwrap();
        let port = free_port();
        let config = example.split("```").next().unwrap().replace("192.0.2.5:5060", &format!("127.0.0.1:{port}"));
        let config = config
            .replace("192.0.2.80:5060", &format!("127.0.0.1:{to_port}"))
            .replace("\"secret\"", &format!("\"{PASSWORD}\""));
        Self::with_config(&config, port)
    }

    fn with_config(config: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kamailio.cfg"), config).unwrap();
        // It is installed in a folder that is only in root's path.
        let found = Command::new("/usr/sbin/kamailio").arg("-v").output().is_ok();
        assert!(found, "this test needs kamailio: apt-get install kamailio");
        let process = Command::new("/usr/sbin/kamailio")
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-w"])
            .arg(folder.path())
            .args(["-Y"])
            .arg(folder.path())
            .arg("-f")
            .arg(folder.path().join("kamailio.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut proxy = Self { process, folder, port };
        super::wait_until("kamailio listens", || {
            assert!(proxy.process.try_wait().unwrap().is_none(), "kamailio ended: {}", proxy.log());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        proxy
    }

    /// Its SIP URI over this transport.
    pub fn uri(&self, transport: &str) -> String {
        format!("sip:127.0.0.1:{};transport={transport}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SAFETY: a signal to a child of this process, which has not been waited for.
        unsafe { libc::kill(self.process.id() as i32, libc::SIGTERM) };
        let _ = self.process.wait();
    }
}

const CONFIG: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:127.0.0.1:PORT
listen=tcp:127.0.0.1:PORT
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "sanity.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("auth", "algorithm", "ALGORITHM")
modparam("auth", "qop", "auth")

request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (!sanity_check("17895", "7")) { xlog("L_ERR", "MALFORMED $rm
"); exit; }
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (has_totag()) {
        if (!loose_route()) {
            if (is_method("ACK") && t_check_trans()) { t_relay(); exit; }
            if (is_method("ACK")) { exit; }
            sl_send_reply("404", "Not Here"); exit;
        }
        xlog("L_ERR", "IN-DIALOG $rm
");
        t_relay(); exit;
    }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    if (!pv_proxy_authenticate("sbc.example", "PASSWORD", "0")) { proxy_challenge("sbc.example", "0"); exit; }
    xlog("L_ERR", "AUTHENTICATED $rm $au
");
    consume_credentials();
    if (is_method("REGISTER")) { save("location"); exit; }
    record_route();
    if (lookup("location")) { xlog("L_ERR", "LOCATED $ru
"); } else { $du = "sip:127.0.0.1:TARGET"; }
    t_relay();
}
"#;
