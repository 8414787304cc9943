//! What `up` says when all is ready.

use super::control::ops_port;
use super::ground::Ground;
use super::postgres::DATABASE;
use crate::demo;

pub(crate) fn ready(ground: &Ground, json: bool) {
    let (places, keys) = (&ground.places, ground.keys());
    if json {
        let object = serde_json::json!({
            "api": ground.api(),
            "ops": format!("http://127.0.0.1:{}", ops_port(ground)),
            "admin_key_file": keys.join("admin.key"),
            "tenant": "demo",
            "tenant_key_file": keys.join("demo.key"),
            "sidecar": {"frame": places.socket(), "http": places.http_socket()},
            "postgres": {"socket": places.run(), "platform_database": DATABASE},
        });
        println!("{object}");
        return;
    }
    println!(
        "Development mode: local only, keys generated in {}, nothing leaves this machine.\n",
        keys.display()
    );
    let command =
        |line: &str| line.replace("{}", &ground.tollgate).replace("{run}", &places.run_argument());
    let width = demo::TRY.iter().map(|(line, _)| command(line).len()).max().unwrap_or(0) + 3;
    println!("{:<width$}  You should see", "Try");
    for (line, expected) in demo::TRY {
        println!("  {:<width$}{expected}", command(line));
    }
    let (program, arguments) = (&ground.tollgate, places.arguments());
    let policy = ground.policies().join("demo/policy.csv");
    println!("Edit {} and save; watch with `{program}{arguments} logs -f`.", policy.display());
    println!(
        "Administrator: curl -H \"Authorization: Bearer $(cat {})\" {}/v1/me",
        keys.join("admin.key").display(),
        ground.api()
    );
    println!("Stop: {program}{arguments} down   Trouble: {program}{arguments} doctor");
}
