//! The task of one call: connects it with its telephone, its sockets and the clock.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use phonegate_media::rtp::{MAX_PACKET, PACKET_MILLISECONDS, PACKET_SAMPLES};
use phonegate_media::sdp::RemoteMedia;
use phonegate_sip::message::Message;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::audio::{Receiver, Sender};
use super::call::{Call, Invitation, Output};
use super::network::{Network, PORT_ATTEMPTS};
use super::requests::{self, Peer};
use crate::exchange::{Action, Exchange, IncomingCall};
use crate::recognition::{Recognizer, Recordings, sentence};

/// The audio that is played at once, in samples: 100 ms.
const PLAYED: usize = 5 * PACKET_SAMPLES as usize;

/// A call that begins.
pub(super) struct NewCall {
    pub(super) invitation: Invitation,
    pub(super) invite: Message,
    /// The address of SIP.
    pub(super) sip: SocketAddr,
    /// Its further messages.
    pub(super) messages: mpsc::Receiver<(Message, Peer)>,
}

/// Runs a call until nothing more of it is expected.
pub(super) async fn run(new: NewCall, network: Network, exchange: Exchange, recordings: Arc<Recordings>) {
    let NewCall { invitation, invite, sip, mut messages } = new;
    let Ok((socket, _rtcp)) = bind_audio(sip.ip()).await else {
        // The ports of the machine are exhausted.
        let refusal = requests::response(&invite, invitation.peer(), 503, "simulator");
        if let Some((to, bytes)) = requests::finish(refusal, invitation.peer()) {
            network.send(to, bytes).await;
        }
        return;
    };
    let Ok(rtp) = socket.local_addr() else { return };
    let mut telephone = exchange.ring("sip", &invitation.number, &invitation.caller);
    show_received(telephone.as_ref(), &invite);
    let began = Instant::now();
    let random = fastrand::u64(..);
    let mut call = Call::new(Duration::ZERO, invitation, sip, rtp, random);
    match &telephone {
        Some(_) => call.ring(Duration::ZERO),
        None => call.decline(Duration::ZERO),
    }
    let mut sound = Sound::new(random, recordings);
    let mut ticks = tokio::time::interval(Duration::from_millis(PACKET_MILLISECONDS.into()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut packet = [0; MAX_PACKET];
    loop {
        while let Some(output) = call.poll_output() {
            match output {
                Output::Send(to, bytes) => {
                    if let Some(telephone) = &telephone {
                        telephone.sent(&String::from_utf8_lossy(&bytes));
                    }
                    network.send(to, bytes).await;
                }
                Output::Media(remote) => sound.remote = Some(remote),
                Output::Ended(result) => {
                    sound.remote = None;
                    if let Some(telephone) = telephone.take() {
                        telephone.end(result);
                    }
                }
            }
        }
        if call.is_finished(began.elapsed()) {
            return;
        }
        tokio::select! {
            message = messages.recv() => {
                let Some((message, peer)) = message else { return };
                show_received(telephone.as_ref(), &message);
                call.receive(began.elapsed(), &message, peer);
            }
            action = next_action(&mut telephone) => match action {
                Action::PickUp => call.pick_up(began.elapsed()),
                Action::Decline => call.decline(began.elapsed()),
                Action::HangUp => call.hang_up(began.elapsed()),
                Action::Press(key) => sound.press(key, telephone.as_ref()),
            },
            _ = ticks.tick(), if sound.remote.is_some() => {
                if let Some((packet, to)) = sound.next_packet() {
                    let _ = socket.send_to(&packet, to).await;
                }
            }
            received = socket.recv_from(&mut packet), if sound.remote.is_some() => {
                if let (Ok((length, from)), Some(telephone)) = (received, &telephone) {
                    sound.receive(packet.get(..length).unwrap_or_default(), from, telephone);
                }
            }
            () = tokio::time::sleep_until(began + call.next_timeout()) => call.handle_timeout(began.elapsed()),
        }
    }
}

/// Binds a port for audio, and the next one, to which PhoneGate sends RTCP. That is not read.
async fn bind_audio(ip: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut attempt = 0;
    loop {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let rtcp = UdpSocket::bind((ip, rtp.local_addr()?.port().wrapping_add(1))).await;
        match rtcp {
            Ok(rtcp) => return Ok((rtp, rtcp)),
            Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

fn show_received(telephone: Option<&IncomingCall>, message: &Message) {
    if let Some(telephone) = telephone {
        telephone.received(&String::from_utf8_lossy(message.as_bytes()));
    }
}

async fn next_action(telephone: &mut Option<IncomingCall>) -> Action {
    match telephone {
        Some(telephone) => telephone.next().await,
        None => std::future::pending().await,
    }
}

/// The audio of a call.
struct Sound {
    /// Where audio goes. `None` before the answer and after the end.
    remote: Option<RemoteMedia>,
    sender: Sender,
    receiver: Receiver,
    recognizer: Recognizer,
    /// Audio that was not played.
    unplayed: Vec<u8>,
}

impl Sound {
    fn new(random: u64, recordings: Arc<Recordings>) -> Self {
        Self {
            remote: None,
            sender: Sender::new(random),
            receiver: Receiver::default(),
            recognizer: Recognizer::new(recordings),
            unplayed: Vec::new(),
        }
    }

    fn press(&mut self, key: char, telephone: Option<&IncomingCall>) {
        let has_events = self.remote.as_ref().is_some_and(|remote| remote.event_type.is_some());
        if (!has_events || !self.sender.press(key))
            && let Some(telephone) = telephone
        {
            telephone.event("The key was not sent: PhoneGate accepts no telephone events, or too many keys wait.");
        }
    }

    fn next_packet(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let remote = self.remote.as_ref()?;
        Some((self.sender.next_packet(remote)?, remote.rtp))
    }

    fn receive(&mut self, packet: &[u8], from: SocketAddr, telephone: &IncomingCall) {
        let Some(remote) = &self.remote else { return };
        let audio = self.receiver.receive(packet, from, remote);
        if let Some(heard) = self.recognizer.hear(&audio) {
            telephone.event(&sentence(&heard));
            telephone.understood(heard);
        }
        self.unplayed.extend(audio);
        while let Some((played, rest)) = self.unplayed.split_at_checked(PLAYED) {
            telephone.play(BASE64_STANDARD.encode(played));
            self.unplayed = rest.to_vec();
        }
    }
}
