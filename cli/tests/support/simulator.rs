//! Twilio Studio's endpoints of the simulator.

use std::time::Duration;

use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Behaviour, Exchange};
use phonegate_simulator::studio::{Pace, StudioServer};
use phonegate_simulator::view::{Call, Update};
use tokio::runtime::Runtime;

/// A simulator, whose telephones are in a runtime of its own.
pub struct Simulator {
    _runtime: Runtime,
    exchange: Exchange,
    server: StudioServer,
}

impl Simulator {
    pub fn start(ending: Ending) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let exchange = Exchange::new(Behaviour { ending, approve_after: None, keys: Keys::default() });
        let pace = Pace { character: Duration::from_millis(5), rings_for: Duration::from_secs(2) };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = runtime.block_on(StudioServer::listen(exchange.clone(), address, pace)).unwrap();
        Self { _runtime: runtime, exchange, server }
    }

    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    pub fn calls(&self) -> Vec<Call> {
        match self.exchange.subscribe().0 {
            Update::Snapshot { calls, .. } => calls,
            other => panic!("a page first gets a snapshot, not {other:?}"),
        }
    }
}
