//! What `phonegate install` promises, as far as it can be seen on Linux: the services, the permissions and the loaded
//! libraries of Windows are in wine_install.rs.

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use site::{SECRET, SETTINGS, STEPS, Site, mode, unreachable};

#[test]
fn an_install_lays_down_everything_and_keeps_a_backup() {
    let site = Site::new();
    let ran = site.install(&[]).exits(0);
    site.is_installed();
    assert_eq!(site.backups(), [SETTINGS]);
    assert!(ran.stdout.contains("contract         Contoso.Contract, Version=0.0.0.0"), "{}", ran.stdout);
    assert!(ran.stdout.contains("phone: "), "the backend was asked: {}", ran.stdout);
    assert!(ran.stdout.contains("CERT_PASSWORD"), "what is cleared is told: {}", ran.stdout);
    assert!(!ran.all().contains(SECRET), "{}", ran.all());
    for (path, expected) in [(site.state(), 0o700), (site.config(), 0o600)] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    let checked = site.command(&["check"]);
    drop(checked);
}
