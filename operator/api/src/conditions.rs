//! The conditions on all kinds: their types and the closed set of reasons.

/// Everything that was asked for is so.
pub const READY: &str = "Ready";
/// Steps are being taken.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that does not mend itself.
pub const DEGRADED: &str = "Degraded";
/// Steps wait because they would disturb what somebody holds.
pub const AWAITING_DISRUPTION: &str = "AwaitingDisruption";
/// Nothing of ours is left on a node that was told to be left.
pub const REMOVED: &str = "Removed";

/// Why a condition has its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// As asked for.
    AsWanted,
    /// Nothing to say against it: the condition's status is `False`.
    Nothing,
    /// No node or no parent is selected.
    NothingSelected,
    /// The agent of a node has not answered for the newest spec.
    AwaitingAgent,
    /// Steps are left in the plan.
    StepsPending,
    /// Another policy has this parent, or a name is taken.
    Conflict,
    /// More functions than the parent has, or a range beyond them.
    TooManyFunctions,
    /// Ranges of two pools overlap.
    OverlappingRanges,
    /// The parent cannot serve its pools so.
    AttachUnsupported,
    /// The device cannot have these settings.
    SettingsUnsupported,
    /// It is not known yet which features all functions with a resource have in common.
    AwaitingFeatures,
    /// Functions lack features that the others with their resource have, and nobody gave those up.
    FeaturesMissing,
    /// The parent carries the node's own traffic.
    CarriesNodeTraffic,
    /// The parent found there is not the one that was meant.
    IdentityMismatch,
    /// Somebody else made what is there.
    Foreign,
    /// Somebody else is to shape a function, and it is not what its pool asks for.
    ExternallyManaged,
    /// A kernel module is missing.
    ModuleMissing,
    /// A call into the kernel does not come back.
    CallStuck,
    /// A step failed.
    StepFailed,
    /// A step would disturb a held device.
    DeviceHeld,
    /// Who holds devices cannot be found out.
    HoldersUnknown,
    /// A value that the schema cannot check is wrong.
    Invalid,
    /// A kind of somebody else's, which is written to, is not served.
    KindMissing,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::AsWanted,
        Self::Nothing,
        Self::NothingSelected,
        Self::AwaitingAgent,
        Self::StepsPending,
        Self::Conflict,
        Self::TooManyFunctions,
        Self::OverlappingRanges,
        Self::AttachUnsupported,
        Self::SettingsUnsupported,
        Self::AwaitingFeatures,
        Self::FeaturesMissing,
        Self::CarriesNodeTraffic,
        Self::IdentityMismatch,
        Self::Foreign,
        Self::ExternallyManaged,
        Self::ModuleMissing,
        Self::CallStuck,
        Self::StepFailed,
        Self::DeviceHeld,
        Self::HoldersUnknown,
        Self::Invalid,
        Self::KindMissing,
    ];

    /// The reason that reads so in a condition.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// As it stands in a condition: CamelCase, stable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsWanted => "AsWanted",
            Self::Nothing => "Nothing",
            Self::NothingSelected => "NothingSelected",
            Self::AwaitingAgent => "AwaitingAgent",
            Self::StepsPending => "StepsPending",
            Self::Conflict => "Conflict",
            Self::TooManyFunctions => "TooManyFunctions",
            Self::OverlappingRanges => "OverlappingRanges",
            Self::AttachUnsupported => "AttachUnsupported",
            Self::SettingsUnsupported => "SettingsUnsupported",
            Self::AwaitingFeatures => "AwaitingFeatures",
            Self::FeaturesMissing => "FeaturesMissing",
            Self::CarriesNodeTraffic => "CarriesNodeTraffic",
            Self::IdentityMismatch => "IdentityMismatch",
            Self::Foreign => "Foreign",
            Self::ExternallyManaged => "ExternallyManaged",
            Self::ModuleMissing => "ModuleMissing",
            Self::CallStuck => "CallStuck",
            Self::StepFailed => "StepFailed",
            Self::DeviceHeld => "DeviceHeld",
            Self::HoldersUnknown => "HoldersUnknown",
            Self::Invalid => "Invalid",
            Self::KindMissing => "KindMissing",
        }
    }
}
