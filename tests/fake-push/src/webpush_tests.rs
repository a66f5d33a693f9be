//! Each check of Web Push refuses what it must, and the decryption is that of RFC 8291.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcKey, EcPoint};
use serde_json::{Value, json};

use crate::Listener;
use crate::ece::{Receiver, decrypt};
use crate::keys::{p256, point};
use crate::testing::{Lab, encrypted, now, path_of};

/// RFC 8291, appendix A.
#[test]
fn the_message_of_the_rfc_is_decrypted() {
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public = decoded("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
    let private = decoded("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
    let body = decoded(concat!(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml",
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT",
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
    ));
    let group = p256().unwrap();
    let public = EcPoint::from_bytes(&group, &public, &mut BigNumContext::new().unwrap()).unwrap();
    let private = BigNum::from_slice(&private).unwrap();
    let key = EcKey::from_private_components(&group, &private, &public).unwrap();
    let mut receiver = Receiver {
        point: point(&key).unwrap(),
        key,
        auth: decoded("BTBZMqHH6r4Tts7J_aSIgg"),
    };
    let text = decrypt(&receiver, &body).unwrap();
    assert_eq!(text, b"When I grow up, I want to be a watermelon");

    for at in [0, 19, 30, body.len() - 1] {
        let mut changed = body.clone();
        changed[at] ^= 1;
        // Byte 19 is the lowest of the record size, which only has to be large enough.
        assert_eq!(decrypt(&receiver, &changed).is_some(), at == 19, "byte {at}");
    }
    for length in [0, 16, 21, 86, 102, body.len() - 1] {
        assert_eq!(decrypt(&receiver, &body[..length]), None, "{length} bytes");
    }
    receiver.auth[0] ^= 1;
    assert_eq!(decrypt(&receiver, &body), None);
}

#[tokio::test]
async fn headers_and_bodies() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Webpush).await;
    let subscription = lab.fake.subscribe().unwrap();
    let path = path_of(&subscription);
    let body = encrypted(&subscription, b"hello");
    let other = encrypted(&lab.fake.subscribe().unwrap(), b"hello");
    let authorization = lab.vapid(json!({}));
    let long = "x".repeat(33);
    let usual = [
        ("authorization", authorization.as_str()),
        ("ttl", "60"),
        ("content-encoding", "aes128gcm"),
    ];
    let cases: [(&str, &str, &[u8], u16); 18] = [
        ("urgency", "very-low", &body, 201),
        ("urgency", "loud", &body, 400),
        ("topic", &long, &body, 400),
        ("topic", &long[1..], &body, 201),
        ("topic", "a.b", &body, 400),
        ("ttl", "", &body, 400),
        ("ttl", "soon", &body, 400),
        ("ttl", "-1", &body, 400),
        ("ttl", "0", &body, 201),
        ("content-encoding", "", &body, 400),
        ("content-encoding", "aesgcm", &body, 400),
        ("content-encoding", "", b"", 201),
        ("x-nothing", "", &other, 400),
        ("x-nothing", "", b"hello", 400),
        ("x-nothing", "", &[0; 4_097], 413),
        ("authorization", "", &body, 401),
        ("authorization", "bearer x", &body, 401),
        ("authorization", "vapid t=x", &body, 403),
    ];
    for (name, value, body, status) in cases {
        let kept = usual.into_iter().filter(|(it, _)| *it != name);
        let added = Some((name, value)).filter(|(_, value)| !value.is_empty());
        let headers: Vec<(&str, &str)> = kept.chain(added).collect();
        let reply = client.post(&path, &headers, body.to_vec()).await;
        assert_eq!(reply.status, status, "{name}: {value}, {} bytes", body.len());
    }
    let reply = client.request("GET", &path, &usual, "").await.unwrap();
    assert_eq!(reply.status, 405);
    assert_eq!(lab.fake.refused()["webpush: body cannot be decrypted"], 2);
    let shown = lab.fake.shown();
    assert_eq!(shown[0].body.as_deref(), Some("hello"));
    assert!(shown[3].silent);
}

#[tokio::test]
async fn application_servers() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Webpush).await;
    let path = path_of(&lab.fake.subscribe().unwrap());
    let usual = lab.vapid(json!({}));
    let (token, _) = usual.split_once(", k=").unwrap();
    let other_key = lab.fake.subscribe().unwrap()["keys"]["p256dh"]
        .as_str()
        .unwrap()
        .to_owned();
    let origin = format!("https://localhost:{}", lab.fake.ports().webpush);
    let claims = json!({"aud": origin, "exp": now() + 60, "sub": "mailto:a@b.example"});
    let foreign = lab.signed("apns.p8", None, &claims);
    let cases: [(String, u16); 11] = [
        (format!("{token}, k={other_key}"), 403),
        (format!("vapid t={foreign}, k={}", lab.fake.vapid_public_key()), 403),
        (lab.vapid(json!({"aud": "https://localhost"})), 403),
        (lab.vapid(json!({"exp": now() - 1})), 403),
        (lab.vapid(json!({"exp": now() + 86_460})), 403),
        (lab.vapid(json!({"exp": null})), 403),
        (lab.vapid(json!({"sub": "http://b.example"})), 403),
        (lab.vapid(json!({"sub": null})), 403),
        (lab.vapid(json!({"sub": "https://b.example"})), 201),
        (usual.clone(), 201),
        (usual.clone(), 201),
    ];
    for (authorization, status) in cases {
        let headers = [("authorization", authorization.as_str()), ("ttl", "0")];
        let reply = client.post(&path, &headers, "").await;
        assert_eq!(reply.status, status, "{authorization}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_the_body_and_options_may_stand_under_notification() {
    let lab = Lab::start().await;
    let mut client = lab.client(Listener::Webpush).await;
    let subscription = lab.fake.subscribe().unwrap();
    let authorization = lab.vapid(json!({}));
    let headers = [
        ("authorization", authorization.as_str()),
        ("ttl", "0"),
        ("content-encoding", "aes128gcm"),
    ];
    let nested: Value = json!({"notification": {"title": "Ann", "badge": 2, "dir": "ltr"}, "seq": 7});
    for text in ["plain", &nested.to_string()] {
        let body = encrypted(&subscription, text.as_bytes());
        assert_eq!(client.post(&path_of(&subscription), &headers, body).await.status, 201);
    }
    let shown = lab.fake.shown();
    assert_eq!((shown[0].body.as_deref(), shown[0].silent), (Some("plain"), false));
    assert_eq!((shown[1].title.as_deref(), shown[1].badge), (Some("Ann"), Some(2)));
    assert_eq!(
        (&shown[1].data["dir"], &shown[1].data["seq"]),
        (&json!("ltr"), &json!(7))
    );
}
