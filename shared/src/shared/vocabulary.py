"""The nouns of the policy as closed vocabularies (C1, R1, E0, L8, S2). Nothing here knows of messages or tables."""

import re
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import NewType, Self

TicketId = NewType("TicketId", str)

_WORD = re.compile(r"[a-z][a-z0-9_]{1,63}")


class PolicyWord(StrEnum):
    """Words that a policy may add to: one that has no name in the code is a member all the same, equal to itself alone."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            return None
        word = str.__new__(cls, value)
        word._name_, word._value_ = value.upper(), value
        known: Self = cls._value2member_map_.setdefault(value, word)  # type: ignore[assignment]
        return known


class Tier(StrEnum):
    """What the customer subscribes to; decides targets (L1)."""

    FREE = "free"
    ALEXA_PLUS_STARTER = "alexa_plus_starter"
    INDIVIDUAL = "individual"
    PREMIUM = "premium"
    FAMILY = "family"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


class Category(StrEnum):
    """What a ticket is about (C1)."""

    TECHNICAL = "technical"
    ACCOUNT = "account"
    BILLING = "billing"
    CONTENT = "content"
    IP_ATTRIBUTION = "ip_attribution"
    SAFETY = "safety"


class Subcategory(StrEnum):
    """The 28 subcategories; each belongs to one category (C1)."""

    STORY_GENERATION = "story_generation"
    VOICE_SYNTHESIS = "voice_synthesis"
    PLATFORM_INTEGRATION = "platform_integration"
    API_ERRORS = "api_errors"
    PERFORMANCE = "performance"
    LOGIN = "login"
    PASSWORD_RESET = "password_reset"
    ACCOUNT_ACCESS = "account_access"
    PROFILE_MANAGEMENT = "profile_management"
    SUBSCRIPTION_MANAGEMENT = "subscription_management"
    PAYMENT_FAILURE = "payment_failure"
    SUBSCRIPTION_CHANGE = "subscription_change"
    REFUND_REQUEST = "refund_request"
    INVOICE_QUESTION = "invoice_question"
    DISCOUNT_CODE = "discount_code"
    STORY_QUALITY = "story_quality"
    INAPPROPRIATE_CONTENT = "inappropriate_content"
    CHARACTER_CONSISTENCY = "character_consistency"
    AGE_APPROPRIATENESS = "age_appropriateness"
    MISSING_ATTRIBUTION = "missing_attribution"
    FALSE_POSITIVE = "false_positive"
    RIGHTS_HOLDER_CLAIM = "rights_holder_claim"
    USER_QUESTION = "user_question"
    CRISIS_DETECTION = "crisis_detection"
    CONTENT_MODERATION = "content_moderation"
    PRIVACY_CONCERN = "privacy_concern"
    COPPA_COMPLIANCE = "coppa_compliance"
    MANDATORY_REPORTING = "mandatory_reporting"


SUBCATEGORIES = MappingProxyType(
    {
        Category.TECHNICAL: (
            Subcategory.STORY_GENERATION,
            Subcategory.VOICE_SYNTHESIS,
            Subcategory.PLATFORM_INTEGRATION,
            Subcategory.API_ERRORS,
            Subcategory.PERFORMANCE,
        ),
        Category.ACCOUNT: (
            Subcategory.LOGIN,
            Subcategory.PASSWORD_RESET,
            Subcategory.ACCOUNT_ACCESS,
            Subcategory.PROFILE_MANAGEMENT,
            Subcategory.SUBSCRIPTION_MANAGEMENT,
        ),
        Category.BILLING: (
            Subcategory.PAYMENT_FAILURE,
            Subcategory.SUBSCRIPTION_CHANGE,
            Subcategory.REFUND_REQUEST,
            Subcategory.INVOICE_QUESTION,
            Subcategory.DISCOUNT_CODE,
        ),
        Category.CONTENT: (
            Subcategory.STORY_QUALITY,
            Subcategory.INAPPROPRIATE_CONTENT,
            Subcategory.CHARACTER_CONSISTENCY,
            Subcategory.AGE_APPROPRIATENESS,
        ),
        Category.IP_ATTRIBUTION: (
            Subcategory.MISSING_ATTRIBUTION,
            Subcategory.FALSE_POSITIVE,
            Subcategory.RIGHTS_HOLDER_CLAIM,
            Subcategory.USER_QUESTION,
        ),
        Category.SAFETY: (
            Subcategory.CRISIS_DETECTION,
            Subcategory.CONTENT_MODERATION,
            Subcategory.PRIVACY_CONCERN,
            Subcategory.COPPA_COMPLIANCE,
            Subcategory.MANDATORY_REPORTING,
        ),
    }
)
CATEGORY_OF = MappingProxyType({sub: category for category, subs in SUBCATEGORIES.items() for sub in subs})


class Team(PolicyWord):
    """Who handles a ticket (R1); the policy's ladders may name more."""

    CUSTOMER_SERVICE = "customer_service"
    TECHNICAL_SUPPORT = "technical_support"
    ENGINEERING = "engineering"
    FINANCE = "finance"
    EXECUTIVE = "executive"
    CONTENT = "content"
    SAFETY = "safety"
    LEGAL = "legal"
    LEGAL_COMPLIANCE = "legal_compliance"
    CHILD_SAFETY_AGENT = "child_safety_agent"


class Level(IntEnum):
    """How far up a ticket is (R1). The number is the contract's; `rank` orders a rise (R9)."""

    IMMEDIATE = 0
    ONE = 1
    TWO = 2
    THREE = 3

    @property
    def rank(self) -> int:
        """1 < 2 < 3 < 0 (R9)."""
        return 4 if self is Level.IMMEDIATE else int(self)


class Criterion(PolicyWord):
    """Why a ticket rises (E0); the policy's rows may name more."""

    UNRESOLVED_BY_STANDARD_STEPS = "unresolved_by_standard_steps"
    NEEDS_ADVANCED_KNOWLEDGE = "needs_advanced_knowledge"
    NEEDS_CONFIGURATION_CHANGE = "needs_configuration_change"
    PERSISTS_AFTER_LEVEL_1 = "persists_after_level_1"
    NEEDS_CODE_FIX = "needs_code_fix"
    ARCHITECTURE_ISSUE = "architecture_issue"
    SECURITY_VULNERABILITY = "security_vulnerability"
    DATA_INTEGRITY = "data_integrity"
    NEEDS_SYSTEM_MODIFICATION = "needs_system_modification"
    AFFECTS_MANY_OR_STABILITY = "affects_many_or_stability"
    MISSING_ATTRIBUTION = "missing_attribution"
    FALSE_POSITIVE = "false_positive"
    NEEDS_CONTENT_REVIEW = "needs_content_review"
    RIGHTS_HOLDER_CLAIM = "rights_holder_claim"
    LEGAL_DISPUTE = "legal_dispute"
    DMCA_TAKEDOWN = "dmca_takedown"
    CEASE_AND_DESIST = "cease_and_desist"
    LEGAL_ACTION_THREATENED = "legal_action_threatened"
    MULTIPLE_DISPUTES = "multiple_disputes"
    HIGH_PROFILE_IP = "high_profile_ip"
    COMPLEX_BILLING = "complex_billing"
    ENTERPRISE_CONTRACT_QUESTION = "enterprise_contract_question"
    REFUND_POLICY_EXCEPTION = "refund_policy_exception"
    PAYMENT_METHOD_ISSUE = "payment_method_issue"
    EXECUTIVE_DISPUTE = "executive_dispute"
    SPECIAL_PRICING = "special_pricing"
    CONTRACT_MODIFICATION = "contract_modification"
    LEGAL_OR_COMPLIANCE = "legal_or_compliance"
    MODERATION = "moderation"
    COMPLIANCE = "compliance"
    REPORT_SUBMISSION = "report_submission"
    LEGAL_COMPLIANCE_QUESTION = "legal_compliance_question"
    REGULATORY_INQUIRY = "regulatory_inquiry"
    LAW_ENFORCEMENT_REQUEST = "law_enforcement_request"
    ESCALATION_DUE = "escalation_due"


class Origin(StrEnum):
    """Where a criterion came from (E6)."""

    EVENT = "event"
    TEXT = "text"
    STATE = "state"
    CLOCK = "clock"
    PERSON = "person"


class Hint(StrEnum):
    """Why a ticket may be no ticket at all; a person decides."""

    DUPLICATE = "duplicate"
    SPAM = "spam"
    MACHINE_MAIL = "machine_mail"
    LOOP = "loop"
    """Machines answer each other."""
    FLOOD = "flood"
    """More tickets from one requester than a person writes."""


class Milestone(StrEnum):
    """What is promised (L8)."""

    ACKNOWLEDGEMENT = "acknowledgement"
    INITIAL_RESPONSE = "initial_response"
    RESOLUTION = "resolution"
    ESCALATION = "escalation"


class Unit(StrEnum):
    """What a target is counted in: the first two elapse day and night, the others run in business time (L2-L4)."""

    MINUTES = "minutes"
    HOURS = "hours"
    BUSINESS_DAYS = "business_days"
    SAME_DAY = "same_day"
    NEXT_BUSINESS_DAY = "next_business_day"


class ClockState(StrEnum):
    """Where one promise stands."""

    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    BREACHED = "breached"
    CANCELLED = "cancelled"


class TicketStatus(StrEnum):
    """What an open ticket waits for; only `pending_customer` pauses (L9)."""

    OPEN = "open"
    PENDING_CUSTOMER = "pending_customer"
    PENDING_INTERNAL = "pending_internal"


class Severity(IntEnum):
    """How bad an incident is (S2); written as its lower-case name."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


class Response(StrEnum):
    """What the Child Safety Agent asks for (S2)."""

    MONITOR = "monitor"
    PARENT_NOTIFICATION = "parent_notification"
    MANDATORY_REPORTING = "mandatory_reporting"
    CRISIS_INTERVENTION = "crisis_intervention"


class IncidentClass(StrEnum):
    """What kind of matter an incident is; each has its own paging lane and deadlines (S8)."""

    CRISIS = "crisis"
    MANDATORY_REPORT = "mandatory_report"
    CONTENT_MODERATION = "content_moderation"
    PRIVACY = "privacy"
    COPPA = "coppa"


class Check(StrEnum):
    """What is looked at on every resolved ticket (Q1)."""

    RESPONSE_WITHIN_TARGET = "response_within_target"
    CLASSIFICATION_AND_ROUTING = "classification_and_routing"
    COMMUNICATION = "communication"
    ESCALATION = "escalation"
    DOCUMENTATION = "documentation"


class Verdict(StrEnum):
    """What a check says (Q1); unknown where nothing says so."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
