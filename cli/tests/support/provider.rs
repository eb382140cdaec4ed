//! A stand-in for a provider on the Internet, which answers everything alike.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The token of the account, as in the configuration.
pub const TOKEN: &str = "hunter2-token-of-the-account";

pub struct Provider {
    runtime: Runtime,
    server: MockServer,
}

impl Provider {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(MockServer::start());
        Self { runtime, server }
    }

    pub fn answers(&self, verb: &str, reply: ResponseTemplate) {
        self.runtime.block_on(Mock::given(method(verb)).respond_with(reply).mount(&self.server));
    }

    pub fn config(&self) -> Value {
        let sid = |prefix: &str| format!("{prefix}{}", "0".repeat(32));
        json!({
            "use": ["cloud"],
            "backends": { "cloud": {
                "type": "twilio_studio",
                "account_sid": sid("AC"),
                "auth_token": TOKEN,
                "flow_sid": sid("FW"),
                "from": "+14255550100",
                "base_url": self.server.uri(),
                "local_peer": true
            } },
            "numbers": { "default_country": "US" },
            "approval": { "method": "pound" },
            "network": { "proxy": "none" }
        })
    }
}
