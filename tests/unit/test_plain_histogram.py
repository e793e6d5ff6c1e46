from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import HistogramMetricFamily

from studyroom.gateway.wire.traffic import PlainHistogram

BOUNDS = (0.5, 1, 2.5, 10)


@given(st.lists(st.floats(0, 20) | st.sampled_from(BOUNDS), max_size=30))
def test_it_counts_the_same_as_the_histogram_of_the_library(values: list[float]):
    registry = CollectorRegistry()
    library = Histogram("seconds", "Of both.", buckets=BOUNDS, registry=registry)
    plain = PlainHistogram([bound * 1000 for bound in BOUNDS])
    for value in values:
        library.observe(value)
        plain.observe(value * 1000)

    family = HistogramMetricFamily("seconds", "Of both.")
    family.add_metric([], *plain.read(1000))
    (expected,) = registry.collect()
    samples = {(sample.name, *sample.labels.values()): sample.value for sample in family.samples}
    for sample in expected.samples:
        if not sample.name.endswith("_created"):
            assert abs(samples[sample.name, *sample.labels.values()] - sample.value) < 1e-6
