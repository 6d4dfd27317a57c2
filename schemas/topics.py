"""Every topic: what it holds, how many partitions, how long it is kept.

A topic enters with the issue that first publishes it; tests/house holds that each has a publisher and a consumer.
"""

from schemas.event import Topic

FRAMES = Topic(
    name="frames",
    kind="ephemeral",
    partitions=8,
    description="Pictures as they leave the reader, heartbeats and stream marks, keyed by camera.",
)
TRACKS_LIVE = Topic(
    name="tracks-live",
    kind="ephemeral",
    partitions=8,
    description="Tracks of each looked-at frame, for overlays.",
)
DETECTIONS = Topic(
    name="detections",
    kind="durable",
    partitions=8,
    retention_hours=24 * 7,
    description="What a detector saw in each frame, and the stream marks: the only clock of the evaluator.",
)
TRACKS = Topic(
    name="tracks",
    kind="durable",
    partitions=8,
    retention_hours=24 * 30,
    description="One event a camera and second with the points of every track.",
)
PREDICATES = Topic(
    name="predicates",
    kind="durable",
    partitions=8,
    retention_hours=24 * 7,
    description="What holds on each camera that a rule over several cameras asks, keyed by site.",
)
INCIDENTS = Topic(
    name="incidents",
    kind="durable",
    partitions=4,
    retention_hours=24 * 365,
    description="Incidents: opened, extended, and every transition of their state.",
)
ALERTS = Topic(
    name="alerts",
    kind="durable",
    partitions=4,
    retention_hours=24 * 365,
    description="What a person should look at.",
)
DELIVERIES = Topic(
    name="deliveries",
    kind="durable",
    partitions=4,
    retention_hours=24 * 90,
    description="What became of each alert on each channel.",
)
CAMERA_STATUS = Topic(
    name="camera-status",
    kind="durable",
    partitions=4,
    retention_hours=24 * 30,
    description="Connection states of cameras, with the reason.",
)
AUDIT = Topic(
    name="audit",
    kind="durable",
    partitions=1,
    retention_hours=24 * 365,
    description="Who did what. One partition: its order is the order of the chain.",
)
CAMERAS = Topic(
    name="cameras",
    kind="compacted",
    partitions=1,
    description="The current document of every camera: zones, lines, masks, detect settings.",
)
PLANS = Topic(
    name="plans",
    kind="compacted",
    partitions=1,
    description="What inference looks for, one plan a camera.",
)
RULES = Topic(
    name="rules",
    kind="compacted",
    partitions=1,
    description="The current version of every rule document.",
)

TOPICS: tuple[Topic, ...] = (
    FRAMES,
    TRACKS_LIVE,
    DETECTIONS,
    TRACKS,
    PREDICATES,
    INCIDENTS,
    ALERTS,
    DELIVERIES,
    CAMERA_STATUS,
    AUDIT,
    CAMERAS,
    PLANS,
    RULES,
)
