#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
use super::*;

/// Returns the result of `ask` for a server that sends these packets: its greeting first, then one after each command.
fn ask_server(packets: &[&str]) -> (Result<(), DeliveryError>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, mut server) = tokio::io::duplex(64 * 1024);
        let packets: Vec<_> = packets.iter().map(|packet| packet.to_string()).collect();
        let serving = tokio::spawn(async move {
            let mut heard = String::new();
            for packet in packets {
                server.write_all(packet.as_bytes()).await.unwrap();
                let mut chunk = [0; 1024];
                let read = server.read(&mut chunk).await.unwrap_or(0);
                heard += &String::from_utf8_lossy(&chunk[..read]);
            }
            heard
        });
        let result = ask(&mut client, "WEB1").await;
        drop(client);
        (result, serving.await.unwrap())
    })
}

const EXTENSIONS: &str = "250-mail.contoso.local\r\n250-SIZE 1000\r\n250 STARTTLS\r\n";

#[test]
fn a_server_that_offers_tls_is_asked_for_it() {
    let (result, heard) = ask_server(&["220-mail\r\n220 ready\r\n", EXTENSIONS, "220 go\r\n"]);
    assert_eq!(result, Ok(()));
    assert_eq!(heard, "EHLO WEB1\r\nSTARTTLS\r\n");
}

#[test]
fn a_server_that_sends_more_than_its_reply_is_refused() {
    for last in ["220 go\r\n250 EHLO\r\n235 welcome\r\n", "220 go\r\n2"] {
        let (result, _) = ask_server(&["220 ready\r\n", EXTENSIONS, last]);
        assert!(result.unwrap_err().to_string().contains("before encryption began"), "{last}");
    }
}

#[test]
fn a_server_that_does_not_begin_tls_is_refused() {
    for (packets, problem) in [
        (&["554 no\r\n"][..], "answered its greeting with 554"),
        (&["220 ready\r\n", "502 what?\r\n"], "answered EHLO with 502"),
        (&["220 ready\r\n", "250-mail\r\n250 SIZE 1000\r\n"], "does not offer STARTTLS"),
        (&["220 ready\r\n", "250-mail\r\n250 XSTARTTLS\r\n"], "does not offer STARTTLS"),
        (&["220 ready\r\n", EXTENSIONS, "454 not now\r\n"], "answered STARTTLS with 454"),
        (&["HTTP/1.1 400 Bad Request\r\n"], "not one of SMTP"),
        (&["220=ready\r\n"], "not one of SMTP"),
        (&["€€€€\r\n"], "not one of SMTP"),
        (&[], "ended the connection"),
    ] {
        let (result, heard) = ask_server(packets);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(problem), "{packets:?}: {error}");
        assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
    }
}

#[tokio::test]
async fn a_connection_reads_up_to_its_limit_and_no_further() {
    for (sent, is_read) in [(MAX_READ, true), (MAX_READ + 1, false)] {
        let (client, mut server) = tokio::io::duplex(2 * MAX_READ);
        server.write_all(&vec![b'2'; sent]).await.unwrap();
        drop(server);
        let mut stream = Greeted::after_starttls(client, "127.0.0.1:25".parse().unwrap());
        let mut read = Vec::new();
        let result = stream.read_to_end(&mut read).await;
        assert_eq!(result.is_ok(), is_read, "{sent}: {result:?}");
        assert_eq!(&read[..GREETING.len()], GREETING);
    }
}

#[test]
fn a_reply_without_an_end_is_refused() {
    let (result, _) = ask_server(&[&"220-more\r\n".repeat(5_000)]);
    assert!(result.unwrap_err().to_string().contains("too long"));
}
