//! What `apply` would do, for people and programs.

use std::fmt;

use ringway_api::node_devices::StepStatus;
use serde::Serialize;

use crate::holders::Holders;
use crate::plan::Plan;

/// A plan, with who is in the way of it.
#[derive(Debug, Serialize)]
pub(crate) struct Preview {
    /// What is left as it is.
    refused: Vec<Refused>,
    /// What is to be done, in order, as the status of NodeDevices has it.
    steps: Vec<StepStatus>,
}

#[derive(Debug, Serialize)]
struct Refused {
    parent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<u32>,
    reason: &'static str,
    message: String,
}

impl Preview {
    pub(crate) fn of(plan: &Plan, holders: &Holders) -> Self {
        let refused = plan.refusals.iter().chain(&plan.awaits).map(|refusal| Refused {
            parent: refusal.parent.clone(),
            function: refusal.function,
            reason: refusal.reason.as_str(),
            message: refusal.message.clone(),
        });
        let steps = plan.steps.iter().map(|planned| {
            let disturbs: Vec<_> = planned.disturbs.iter().map(ToString::to_string).collect();
            let held = disturbs
                .iter()
                .filter_map(|id| holders.get(id).map(|holder| format!("{id} is in use: {holder}")));
            let held = held.collect::<Vec<_>>().join("; ");
            StepStatus {
                step: planned.step.to_string(),
                parent: planned.parent.to_string(),
                waits: Some(held).filter(|held| !held.is_empty()),
                disturbs,
            }
        });
        Self { refused: refused.collect(), steps: steps.collect() }
    }
}

impl Preview {
    /// Whether there is nothing to do, and nothing that is left as it is.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.steps.is_empty()
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("everything is as wanted\n");
        }
        for refused in &self.refused {
            writeln!(f, "refused  {} ({})", refused.message, refused.reason)?;
        }
        for step in &self.steps {
            write!(f, "to do    {}: {}", step.parent, step.step)?;
            if !step.disturbs.is_empty() {
                write!(f, "; disturbs {}", step.disturbs.join(", "))?;
            }
            if let Some(waits) = &step.waits {
                write!(f, "; waits: {waits}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ringway_api::conditions::Reason;

    use super::*;
    use crate::plan::Planned;
    use crate::step::Step;
    use crate::wanted::{ParentName, Refusal};

    fn plan() -> Plan {
        let step = |step, disturbs: &[&str]| Planned {
            step,
            parent: ParentName::of("0000:01:00.0"),
            function: None,
            disturbs: disturbs.iter().map(|id| id.parse().unwrap()).collect(),
        };
        let refusal = Refusal {
            parent: "0000:02:00.0".into(),
            function: None,
            reason: Reason::CarriesNodeTraffic,
            message: "0000:02:00.0 (eth0) carries the default route".into(),
        };
        let unbind = Step::UnbindVdpa { name: "vdpa:0000:01:00.1".into() };
        let steps =
            vec![step(Step::SetVdpaAutoprobe { on: false }, &[]), step(unbind, &["0000:01:00.1"])];
        Plan { steps, refusals: vec![refusal], awaits: vec![] }
    }

    #[test]
    fn a_line_for_each_refusal_and_step_with_who_is_in_the_way() {
        let holders = [("0000:01:00.1".to_owned(), "process 7 has it open".to_owned())].into();
        assert_eq!(
            Preview::of(&plan(), &holders).to_string(),
            "refused  0000:02:00.0 (eth0) carries the default route (CarriesNodeTraffic)\n\
             to do    0000:01:00.0: keep drivers off new vDPA devices\n\
             to do    0000:01:00.0: unbind vDPA device vdpa:0000:01:00.1; disturbs 0000:01:00.1; \
             waits: 0000:01:00.1 is in use: process 7 has it open\n"
        );
        let nothing = Preview::of(&Plan::default(), &Holders::new());
        assert_eq!(nothing.to_string(), "everything is as wanted\n");
    }

    #[test]
    fn programs_get_the_same() {
        let preview = serde_json::to_value(Preview::of(&plan(), &Holders::new())).unwrap();
        assert_eq!(preview["refused"][0]["reason"], "CarriesNodeTraffic");
        assert_eq!(preview["steps"][1]["disturbs"], serde_json::json!(["0000:01:00.1"]));
        assert_eq!(preview["steps"][1].get("waits"), None);
    }
}
