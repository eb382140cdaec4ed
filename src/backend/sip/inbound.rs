//! Requests of the other side: each goes to its call, or is answered here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rsipstack::dialog::dialog::Dialog;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{Method, StatusCode};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::transaction::Transaction;

use super::outcome::reason_header;

/// How long a BYE waits for the answer that it follows to be taken in, and how often it looks.
const ANSWER_TAKEN_IN: (Duration, u32) = (Duration::from_millis(20), 25);

/// The calls of a link by their Call-ID, with the reason that a BYE gave for its end.
#[derive(Default)]
pub(super) struct Calls(Mutex<HashMap<String, Option<String>>>);

impl Calls {
    pub(super) fn remember(&self, call_id: &str) {
        self.0.lock().insert(call_id.to_owned(), None);
    }

    pub(super) fn forget(&self, call_id: &str) {
        self.0.lock().remove(call_id);
    }

    pub(super) fn reason(&self, call_id: &str) -> Option<String> {
        self.0.lock().get(call_id)?.clone()
    }

    fn is_known(&self, call_id: &str) -> bool {
        self.0.lock().contains_key(call_id)
    }

    fn ends(&self, call_id: &str, reason: Option<String>) {
        if let Some(known) = self.0.lock().get_mut(call_id) {
            *known = reason;
        }
    }
}

/// Answers requests until there can be no more.
pub(super) async fn answer_requests(dialogs: Arc<DialogLayer>, calls: Arc<Calls>, mut incoming: TransactionReceiver) {
    while let Some(mut transaction) = incoming.recv().await {
        let dialog = dialogs.match_dialog(&transaction);
        let (dialogs, calls) = (Arc::clone(&dialogs), Arc::clone(&calls));
        tokio::spawn(async move {
            let call_id = transaction.original.call_id_header().map(|id| id.value().to_owned()).unwrap_or_default();
            let is_known = calls.is_known(&call_id);
            let is_bye = transaction.original.method == Method::Bye;
            let dialog = match dialog {
                None if is_known && is_bye => answered_dialog(&dialogs, &transaction).await,
                found => found,
            };
            let answered = match dialog {
                Some(mut dialog) => {
                    if is_bye {
                        calls.ends(&call_id, reason_header(&transaction.original.headers));
                    }
                    dialog.handle(&mut transaction).await
                }
                None if is_known => before_answer(&mut transaction).await,
                None => out_of_call(&mut transaction).await,
            };
            // Whoever sent it asks again, or gives up.
            drop(answered);
        });
    }
}

/// The dialog of a BYE that has overtaken the answer.
async fn answered_dialog(dialogs: &DialogLayer, transaction: &Transaction) -> Option<Dialog> {
    let (pause, tries) = ANSWER_TAKEN_IN;
    for _ in 0..tries {
        tokio::time::sleep(pause).await;
        if let Some(dialog) = dialogs.match_dialog(transaction) {
            return Some(dialog);
        }
    }
    None
}

/// While a call rings. A 481 would end it.
async fn before_answer(transaction: &mut Transaction) -> rsipstack::Result<()> {
    let has_body = !transaction.original.body.is_empty();
    match transaction.original.method {
        // Our own offer is not answered yet (RFC 3311, section 5.2).
        Method::Update if has_body => transaction.reply(StatusCode::RequestPending).await,
        Method::Update | Method::Options | Method::Info => transaction.reply(StatusCode::OK).await,
        Method::Ack => Ok(()),
        _ => transaction.reply(StatusCode::CallTransactionDoesNotExist).await,
    }
}

async fn out_of_call(transaction: &mut Transaction) -> rsipstack::Result<()> {
    match transaction.original.method {
        Method::Options => transaction.reply(StatusCode::OK).await,
        Method::Invite => transaction.reply(StatusCode::Forbidden).await,
        Method::Ack => Ok(()),
        _ => transaction.reply(StatusCode::CallTransactionDoesNotExist).await,
    }
}
