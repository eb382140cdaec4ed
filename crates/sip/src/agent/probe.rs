//! The request that asks a server whether it is alive.

use super::core::Core;
use super::flow::Flow;
use crate::invite::{contact, via};
use crate::message::{MessageBuilder, Method, header};
use crate::transaction::ClientKey;

/// Writes an OPTIONS outside of calls.
pub(super) fn write(core: &mut Core, flow: &Flow, key: ClientKey, uri: &str) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::request(&Method::Options, uri)
        .header(header::VIA, via(flow, key))
        .header(header::MAX_FORWARDS, "70")
        .header(header::FROM, format!("<sip:{}>;tag={}", flow.local, core.random_token()))
        .header(header::TO, format!("<{uri}>"))
        .header(header::CALL_ID, core.random_token())
        .header(header::CSEQ, "1 OPTIONS")
        .header(header::CONTACT, contact(flow, ""))
        .header(header::ACCEPT, "application/sdp");
    if !core.config.product.is_empty() {
        builder = builder.header(header::USER_AGENT, &core.config.product);
    }
    builder.build().ok()
}
