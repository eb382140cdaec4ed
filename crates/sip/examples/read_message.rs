//! Reads a SIP message from standard input, as if it were a datagram, and prints its parsed parts.
//!
//! A message whose lines end with LF alone is read too, so that one can be typed.

use std::error::Error;
use std::io::{self, Read};

use phonegate_sip::message::{Limits, Message, NameAddr};

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    // One byte more than a message may have, so that a longer one is rejected instead of truncated.
    io::stdin().take(u64::try_from(limits.message)? + 1).read_to_end(&mut bytes)?;
    let message = Message::from_datagram(&bytes, &limits)?;

    match (message.method(), message.status()) {
        (Some(method), _) => {
            println!("request       {method}");
            match message.request_uri() {
                Ok(uri) => println!("Request-URI   {}", uri.map(|uri| uri.to_string()).unwrap_or_default()),
                Err(error) => println!("Request-URI   {error}"),
            }
        }
        (None, Some(status)) => {
            let reason = message.reason_phrase().unwrap_or_default();
            println!("response      {status} {}", reason.escape_ascii());
        }
        (None, None) => {}
    }
    match message.essentials() {
        Ok(essentials) => {
            println!("Call-ID       {}", essentials.call_id);
            println!("CSeq          {}", essentials.cseq);
            print_address("From", &essentials.from);
            print_address("To", &essentials.to);
            let via = essentials.via;
            println!("Via           {} {}, branch {}", via.transport(), via.host(), via.branch().unwrap_or("none"));
        }
        Err(error) => println!("not complete  {error}"),
    }
    for (name, list) in
        [("Contact", message.contacts()), ("Route", message.routes()), ("Record-Route", message.record_routes())]
    {
        match list {
            Ok(list) => list.iter().for_each(|address| print_address(name, address)),
            Err(error) => println!("not readable  {error}"),
        }
    }
    if let Some(cause) = message.q850_cause() {
        println!("{:<13} {cause}", "Q.850 cause");
    }
    match message.content_type() {
        Ok(Some(content_type)) => println!("{:<13} {}", "Content-Type", content_type.media_type()),
        Ok(None) => {}
        Err(error) => println!("not readable  {error}"),
    }
    println!("{:<13} {} headers, {} bytes of body", "in all", message.headers().count(), message.body().len());
    Ok(())
}

fn print_address(name: &str, address: &NameAddr) {
    let uri = address.uri().map_or_else(|error| error.to_string(), |uri| uri.to_string());
    let display_name = address.display_name().map(|name| format!("{name:?} ")).unwrap_or_default();
    let tag = address.tag().map(|tag| format!(", tag {tag}")).unwrap_or_default();
    println!("{name:<13} {display_name}{uri}{tag}");
}
