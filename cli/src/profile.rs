//! Where the control plane is and which key opens it: what `tollgate login` keeps, mode 0600.

use crate::api::Api;
use crate::browser::{self, SignedIn};
use crate::exit::Exit;
use crate::places::Places;
use serde_json::{Map, Value as Json, json};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Which installation a command speaks to.
#[derive(Debug, clap::Args)]
pub(crate) struct Profile {
    /// Which login to use
    #[arg(long, global = true, default_value = "default", env = "TOLLGATE_PROFILE")]
    profile: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Where the API is, such as http://127.0.0.1:8082
    #[arg(long)]
    url: String,
    /// Read a key from standard input; without, a browser signs in
    #[arg(long)]
    key_stdin: bool,
    /// Which identity provider, where there are several: its id
    #[arg(long, conflicts_with = "key_stdin")]
    provider: Option<String>,
    /// Of several organisations, the one to act for
    #[arg(long, conflicts_with = "key_stdin")]
    organisation: Option<String>,
    #[command(flatten)]
    profile: Profile,
}

fn file() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || PathBuf::from(variable("HOME").unwrap_or_default()).join(".config");
    variable("XDG_CONFIG_HOME").map_or_else(home, PathBuf::from).join("tollgate/profiles.json")
}

fn read() -> Map<String, Json> {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

impl Profile {
    /// The API of this profile; without a login, that of `tollgate up` on this machine.
    ///
    /// # Errors
    /// A sentence: nobody has logged in.
    pub(crate) fn api(&self, places: &Places) -> Result<Api, (Exit, String)> {
        let profiles = read();
        let text = |name: &str| profiles.get(&self.profile)?[name].as_str().map(str::to_owned);
        match (text("url"), text("key"), text("session"), text("origin")) {
            (Some(url), Some(key), ..) => return Ok(Api::new(&url, &key)),
            (Some(url), None, Some(session), Some(origin)) => {
                return Ok(Api::with_session(&url, &session, &origin));
            }
            _ => {}
        }
        let keys = places.data().join("keys");
        let config = std::fs::read_to_string(keys.join("control.toml")).unwrap_or_default();
        let url = config.lines().find_map(|line| line.strip_prefix("public_url = "));
        match (url, std::fs::read_to_string(keys.join("admin.key"))) {
            (Some(url), Ok(key)) if self.profile == "default" => {
                Ok(Api::new(url.trim_matches('"'), &key))
            }
            _ => {
                let message = format!(
                    "no login `{}`; tollgate login --url URL, or with --key-stdin < KEY",
                    self.profile
                );
                Err((Exit::Usage, message))
            }
        }
    }
}

/// What opens the API, and how it is kept.
fn credential(arguments: &Login) -> Result<(Api, Json), (Exit, String)> {
    if arguments.key_stdin {
        let mut key = String::new();
        let read = std::io::stdin().read_to_string(&mut key);
        read.map_err(|error| (Exit::Usage, error.to_string()))?;
        let api = Api::new(&arguments.url, &key);
        let kept = json!({"url": api.url, "key": key.trim()});
        return Ok((api, kept));
    }
    let api = Api::new(&arguments.url, "");
    let given = [("provider", &arguments.provider), ("organisation", &arguments.organisation)];
    let more = given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let more: Vec<(&str, &str)> = more.collect();
    let SignedIn { session, origin } = browser::sign_in(&api, &more)?;
    let kept = json!({"url": api.url, "session": session, "origin": origin});
    Ok((Api::with_session(&api.url, &session, &origin), kept))
}

/// Keeps a login after trying it.
pub(crate) fn login(arguments: &Login) -> Result<String, (Exit, String)> {
    let said = |error: std::io::Error| (Exit::Usage, error.to_string());
    let (api, kept) = credential(arguments)?;
    let me =
        api.call("GET", "/v1/me", None, None).map_err(|message| (Exit::Unreachable, message))?;
    if !me.is_ok() {
        return Err(me.refusal());
    }
    let path = file();
    let mut profiles = read();
    profiles.insert(arguments.profile.profile.clone(), kept);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(said)?;
    }
    let partial = path.with_extension("partial");
    std::fs::write(&partial, "").map_err(said)?;
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o600)).map_err(said)?;
    std::fs::write(&partial, Json::Object(profiles).to_string()).map_err(said)?;
    std::fs::rename(&partial, &path).map_err(said)?;
    let roles = me.json["roles"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let roles: Vec<&str> = roles.collect();
    let whose = me.json["tenant"].as_str().unwrap_or("the platform");
    Ok(format!("logged in at {} as {} of {whose}", api.url, roles.join(", ")))
}
