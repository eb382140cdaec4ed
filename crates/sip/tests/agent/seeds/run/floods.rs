//! Messages without a cause: garbage, guesses and floods.

use phonegate_sip::agent::Transport;

use super::{Run, address};
use crate::net::network::Health;
use crate::net::text::Text;

/// Messages of one flood: more than the agent keeps of any kind.
const FLOOD: u32 = 24;

impl Run {
    pub(super) fn stranger(&mut self) {
        let source = address(if self.random.bool() { "203.0.113.66:5060" } else { "192.0.2.7:5060" });
        let number = self.random.u64(..);
        let methods = ["BYE", "INVITE", "CANCEL", "INFO", "UPDATE", "ACK", "OPTIONS", "SIP/2.0 200 OK", ""];
        let method = methods[self.random.usize(0..methods.len())];
        let first = match method {
            "" => format!("{number}"),
            method if method.contains('/') => method.to_owned(),
            method => format!("{method} sip:gate@192.0.2.1 SIP/2.0"),
        };
        let method = if method.contains('/') { "INVITE" } else { method };
        let text = Text::new(first)
            .line(format!("Via: SIP/2.0/UDP {source};branch=z9hG4bK{number}"))
            .line(format!("From: <sip:gate@192.0.2.7>;tag={number}"))
            .line("To: <sip:+14255550100@192.0.2.7>;tag=0-0")
            .line(format!("Call-ID: {number}"))
            .line(format!("CSeq: 1 {method}"))
            .sdp("evil");
        self.net.send_from(self.link, source, text.build());
    }

    /// The PBX sends far more than it should: garbage, requests outside of calls, INFOs, unknown phones.
    pub(super) fn flood(&mut self) {
        if self.net.links[self.link].health != Health::Good {
            return;
        }
        let (kind, index) = (self.random.u8(0..5), self.random.usize(..));
        let invites: Vec<_> = self.pbx.invites().collect();
        let (link, call) = match invites.len() {
            0 => (self.link, None),
            calls => {
                invites.get(index % calls).map_or((self.link, None), |(link, invite)| (*link, Some(invite.clone())))
            }
        };
        let is_answered = self.calls.iter().all(|call| call.answered.is_some());
        let source = address("192.0.2.7:5060");
        for _ in 0..FLOOD {
            let number = self.random.u64(..);
            let outside = |method: &str| {
                Text::new(format!("{method} sip:gate@192.0.2.1 SIP/2.0"))
                    .line(format!("Via: SIP/2.0/{};branch=z9hG4bK{number}", self.pbx.via))
                    .line(format!("From: <sip:pbx@192.0.2.7>;tag={number}"))
                    .line("To: <sip:gate@192.0.2.1>")
                    .line(format!("Call-ID: {number}"))
                    .line(format!("CSeq: 1 {method}"))
            };
            let phone = |invite, status| {
                let text = Text::reply(invite, status).tag(&format!("unknown{number}"));
                text.line("Contact: <sip:unknown@192.0.2.7:5080>").line("Require: 100rel").line("RSeq: 1")
            };
            let text = match (kind, &call) {
                (0, _) => outside("OPTIONS"),
                (1, _) => outside("INVITE"),
                (2, Some(invite)) => phone(invite, "180 Ringing"),
                (3, Some(invite)) if is_answered => phone(invite, "200 OK").sdp("unknown"),
                (4, _) => {
                    self.pbx.act_all("INFO");
                    continue;
                }
                _ if self.transport == Transport::Udp => Text::new(number),
                _ => continue,
            };
            self.net.send_from(link, source, text.build());
        }
    }
}
