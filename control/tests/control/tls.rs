//! TLS ended by the service itself.

use crate::cluster::cluster;
use crate::service::Control;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn it_ends_tls_itself_and_speaks_nothing_else_there() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = &cluster().folder;
    let (cert, key) = (folder.join("tls.pem"), folder.join("tls.key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let control = Control::start_with(&[
        ("TOLLGATE_API__TLS_CERT", &cert.display().to_string()),
        ("TOLLGATE_API__TLS_KEY", &key.display().to_string()),
    ]);
    let ask = |root: &rcgen::Certificate| {
        let root = ureq::tls::Certificate::from_der(root.der()).to_owned();
        let roots = ureq::tls::RootCerts::Specific(Arc::new(vec![root]));
        let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
        let agent = ureq::Agent::config_builder().tls_config(tls);
        let agent: ureq::Agent = agent.timeout_global(Some(Duration::from_secs(10))).build().into();
        let url = format!("https://localhost:{}/v1/me", control.port);
        let asked = agent.get(&url).header("authorization", format!("Bearer {}", control.admin));
        asked.call().map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    };
    assert_eq!(ask(&made.cert), Ok(200));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    assert!(ask(&other.cert).is_err(), "another certificate is not believed");
    assert!(control.is_silent("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"), "no plain HTTP");
}
