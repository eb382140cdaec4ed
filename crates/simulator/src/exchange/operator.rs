//! Acts at a telephone as its user would.

use tokio::sync::watch;

use super::{Exchange, Heard};
use crate::view::{Telephone, TelephoneAction, TelephoneState};

/// Acts at the telephone of one call.
pub(crate) struct Operator {
    exchange: Exchange,
    number: String,
    call: u64,
    heard: watch::Receiver<Option<Heard>>,
}

impl Operator {
    pub(super) fn new(exchange: Exchange, number: &str, call: u64, heard: watch::Receiver<Option<Heard>>) -> Self {
        Self { exchange, number: number.to_owned(), call, heard }
    }

    /// Returns the id of the call.
    pub(super) fn call(&self) -> u64 {
        self.call
    }

    /// Does something at the telephone while it has this call. Returns whether it could be done, as
    /// [`Exchange::act`].
    pub(crate) fn act(&self, action: TelephoneAction) -> bool {
        self.telephone().is_some() && self.exchange.act(&self.number, &action)
    }

    pub(crate) fn is_ringing(&self) -> bool {
        self.telephone().is_some_and(|telephone| telephone.state == TelephoneState::Ringing)
    }

    /// Waits until the line has understood the prompt.
    pub(crate) async fn heard(&mut self) -> Heard {
        match self.heard.wait_for(Option::is_some).await.ok().and_then(|heard| heard.clone()) {
            Some(heard) => heard,
            // The call has ended, and its script with it.
            None => std::future::pending().await,
        }
    }

    /// Waits until the line has understood another prompt than that of the last [`Operator::heard`].
    pub(crate) async fn heard_again(&mut self) -> Heard {
        // An error means that the call has ended, which `heard` finds as well.
        let _ = self.heard.changed().await;
        self.heard().await
    }

    fn telephone(&self) -> Option<Telephone> {
        let state = self.exchange.state.lock();
        let mut telephones = state.telephones.iter().map(|line| &line.telephone);
        telephones.find(|telephone| telephone.call == Some(self.call)).cloned()
    }
}
