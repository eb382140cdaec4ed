//! Keys in answers and offers.

use super::*;

#[test]
fn an_answer_encrypts_exactly_as_offered() {
    let line = |tag: &str, suite: &str, rest: &str| format!("a=crypto:{tag} {suite} {KEY}{rest}\r\n");
    let (strong, weak) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
    let check = |encryption: Encryption, transport: &str, lines: &str| {
        let sdp = format!("{HEAD}{}{lines}", GOOD.replace("RTP/AVP", transport));
        session(encryption).check_answer(sdp.as_bytes()).map(|remote| remote.key.map(|key| key.suite()))
    };
    let (optional, required) = (Encryption::Optional(keys()), Encryption::Required(keys()));
    for (good, suite) in [
        (line("1", strong, ""), CryptoSuite::AesCm128HmacSha1_80),
        (line("2", weak, ""), CryptoSuite::AesCm128HmacSha1_32),
        (line("1", strong, "|2^20"), CryptoSuite::AesCm128HmacSha1_80),
        (line("1", strong, "|1048576  WSH=64 "), CryptoSuite::AesCm128HmacSha1_80),
        (line("1", " aes_cm_128_hmac_sha1_80", ""), CryptoSuite::AesCm128HmacSha1_80),
    ] {
        assert_eq!(check(required.clone(), "RTP/SAVP", &good), Ok(Some(suite)), "{good}");
        assert_eq!(check(optional.clone(), "RTP/AVP", &good), Ok(Some(suite)), "{good}");
    }
    let own_key = session(required.clone()).offer();
    let echo = own_key.lines().find(|line| line.starts_with("a=crypto:1 ")).unwrap();
    for bad in [
        line("2", strong, ""),
        line("1", weak, ""),
        line("3", strong, ""),
        line("", strong, ""),
        line("-1", strong, ""),
        line("0000000001", strong, ""),
        line("1", "AEAD_AES_128_GCM", ""),
        line("1", strong, "|1:4"),
        line("1", strong, "|2^20|1:4"),
        line("1", strong, ";inline:x"),
        line("1", strong, " UNENCRYPTED_SRTP"),
        line("1", strong, "").replace("d0Rm", ""),
        line("1", strong, "").replace("d0Rm", "d0R\u{fffd}"),
        line("1", strong, "").replace("inline", "uri"),
        line("1", strong, "") + &line("2", weak, ""),
        "a=crypto\r\n".to_owned(),
        format!("{echo}\r\n"),
    ] {
        assert_eq!(check(required.clone(), "RTP/SAVP", &bad), Err(SdpError::Encryption), "{bad}");
        assert_eq!(check(optional.clone(), "RTP/AVP", &bad), Err(SdpError::Encryption), "{bad}");
    }
    assert_eq!(check(optional.clone(), "RTP/AVP", ""), Ok(None));
    assert_eq!(check(required.clone(), "RTP/SAVP", ""), Err(SdpError::Encryption));
    assert_eq!(check(required, "RTP/AVP", &line("1", strong, "")), Err(SdpError::Unencrypted));
    assert!(matches!(check(optional, "RTP/SAVP", &line("1", strong, "")), Err(SdpError::Transport(_))));
}

/// A session is refreshed by an offer that repeats the latest description, which may be an answer: with the tag, the suite
/// and the transport of the peer. In the next full offer, the tags are ours again.
#[test]
fn a_refresh_has_the_tag_of_the_offer_that_it_repeats() {
    let (strong, weak) = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32");
    let other_key = KEY.replace("d0Rm", "AAAA");
    let sdp = |transport: &str, tag: u32, suite: &str, key: &str| {
        format!("{HEAD}m=audio 4000 {transport} 0 101\r\na=crypto:{tag} {suite} {key}\r\n")
    };
    let (optional, required) = (Encryption::Optional(keys()), Encryption::Required(keys()));
    for (encryption, first, transport) in
        [(&optional, "RTP/AVP", "RTP/AVP"), (&optional, "RTP/AVP", "RTP/SAVP"), (&required, "RTP/SAVP", "RTP/SAVP")]
    {
        for (tag, suite) in [(1, strong), (1, weak), (2, strong), (2, weak), (7, strong), (7, weak)] {
            let mut local = session(encryption.clone());
            local.offer();
            local.check_answer(sdp(first, 1, strong, KEY).as_bytes()).unwrap();
            let offer = local.check_offer(sdp(transport, tag, suite, KEY).as_bytes()).unwrap();
            let refresh = local.answer(&offer);
            let mut refreshed = |answer: String| local.check_answer_to(refresh.as_bytes(), answer.as_bytes());
            let remote = refreshed(sdp(transport, tag, suite, &other_key)).unwrap();
            assert_ne!(Some(remote.key.unwrap().master_key()), offer.remote().key.as_ref().map(PeerKey::master_key));
            let other_suite = if suite == strong { weak } else { strong };
            for (tag, suite) in [(tag + 1, suite), (tag, other_suite)] {
                let refused = refreshed(sdp(transport, tag, suite, &other_key));
                assert_eq!(refused, Err(SdpError::Encryption), "{tag} {suite} was not offered");
            }
            local.offer();
            assert!(local.check_answer(sdp(first, 2, weak, KEY).as_bytes()).is_ok(), "a full offer");
        }
    }
}

#[test]
fn keys_stay_out_of_debug() {
    let mut local = session(Encryption::Required(keys()));
    let offered = local.offer();
    let sdp = format!("{HEAD}m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
    let remote = local.check_answer(sdp.as_bytes()).unwrap();
    assert_eq!(remote.key.as_ref().unwrap().master_key().key(), b"wDfvg&T+)xG7@fb5");
    assert_eq!(remote.key.as_ref().unwrap().master_key().salt().len(), 14);
    let shown = format!("{local:?} {remote:?} {:?}", local.check_offer(sdp.as_bytes()));
    let secrets = ["d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", "AQEBAQEB", "[1, 1", "[119"];
    assert!(offered.contains("AQEBAQEB"));
    assert!(secrets.iter().all(|secret| !shown.contains(secret)), "{shown}");
}

/// Only the first description may omit optional encryption. A later one without it would let its sender, or an attacker
/// who modified it, inject digits from then on.
#[test]
fn a_call_that_was_encrypted_stays_encrypted() {
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
    let (plain, encrypted) = (format!("{HEAD}{GOOD}"), format!("{HEAD}{GOOD}{key}"));
    let (plain, encrypted) = (plain.as_bytes(), encrypted.as_bytes());
    let optional = || session(Encryption::Optional(keys()));
    let mut answered = optional();
    assert_eq!(answered.check_answer(plain).map(|remote| remote.key), Ok(None), "the peer cannot encrypt");
    assert!(answered.check_offer(plain).is_ok());
    assert!(answered.check_answer(encrypted).is_ok_and(|remote| remote.key.is_some()), "it can now");
    assert_eq!(answered.check_answer(plain), Err(SdpError::Unencrypted));
    assert_eq!(answered.check_offer(plain), Err(SdpError::Unencrypted));
    assert!(answered.check_offer(encrypted).is_ok());
    let mut offered = optional();
    let offer = offered.check_offer(encrypted).unwrap();
    assert!(offered.check_offer(plain).is_ok(), "an offer counts when it is answered");
    offered.answer(&offer);
    assert_eq!(offered.check_offer(plain), Err(SdpError::Unencrypted));
}
