"""The log on Apache Kafka, by aiokafka with none of its defaults: nobody else builds a client."""

from shared.bus.kafka.access import Access as Access
from shared.bus.kafka.log import open_kafka as open_kafka
from shared.bus.kafka.topics import open_topics as open_topics
