//! The `casbin` crate as an oracle: it answers, errs or panics, and none of these is a deny.
//!
//! Its panics are caught and counted as failures; text it is given never touches a file.

use casbin::{CoreApi, DefaultModel, EnforceContext, Enforcer, StringAdapter};
use serde_json::Value;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What casbin says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allow,
    Deny,
    /// An error or a panic, in its own words.
    Failed(String),
}

/// One model and policy, loaded by casbin.
pub struct CasbinRs {
    enforcer: Enforcer,
}

impl std::fmt::Debug for CasbinRs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CasbinRs").finish_non_exhaustive()
    }
}

impl CasbinRs {
    /// Loads the text of a model.conf and a policy.csv.
    ///
    /// # Errors
    /// What casbin says when it refuses the files or panics over them.
    pub fn load(model: &str, policy: &str) -> Result<CasbinRs, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| error.to_string())?;
        quietly(|| {
            runtime.block_on(async {
                let model = DefaultModel::from_str(model).await?;
                Enforcer::new(model, StringAdapter::new(policy)).await
            })
        })?
        .map(|enforcer| CasbinRs { enforcer })
        .map_err(|error| error.to_string())
    }

    /// Asks a context, such as `2` for `m2`.
    pub fn ask_in(&self, context: &str, arguments: &[Value]) -> Answer {
        let enforcer = &self.enforcer;
        let context = || EnforceContext::new(context);
        let answer = quietly(|| match arguments {
            [a] => enforcer.enforce_with_context(context(), (a,)),
            [a, b] => enforcer.enforce_with_context(context(), (a, b)),
            [a, b, c] => enforcer.enforce_with_context(context(), (a, b, c)),
            [a, b, c, d] => enforcer.enforce_with_context(context(), (a, b, c, d)),
            [a, b, c, d, e] => enforcer.enforce_with_context(context(), (a, b, c, d, e)),
            _ => enforcer.enforce_with_context(context(), Vec::<String>::new()),
        });
        Answer::of(answer)
    }

    /// Asks for one request tuple, bound by position: strings, or objects with attributes.
    pub fn ask(&self, arguments: &[Value]) -> Answer {
        let enforcer = &self.enforcer;
        let answer = quietly(|| match arguments {
            [a] => enforcer.enforce((a,)),
            [a, b] => enforcer.enforce((a, b)),
            [a, b, c] => enforcer.enforce((a, b, c)),
            [a, b, c, d] => enforcer.enforce((a, b, c, d)),
            [a, b, c, d, e] => enforcer.enforce((a, b, c, d, e)),
            [a, b, c, d, e, f] => enforcer.enforce((a, b, c, d, e, f)),
            _ => enforcer.enforce(Vec::<String>::new()),
        });
        Answer::of(answer)
    }
}

impl Answer {
    fn of(answer: Result<casbin::Result<bool>, String>) -> Answer {
        match answer {
            Ok(Ok(true)) => Answer::Allow,
            Ok(Ok(false)) => Answer::Deny,
            Ok(Err(error)) => Answer::Failed(error.to_string()),
            Err(panic) => Answer::Failed(panic),
        }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it prints nothing and becomes an error.
fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                earlier(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        format!("panicked: {}", text.unwrap_or("without a message"))
    })
}
