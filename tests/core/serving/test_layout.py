"""How GPUs lie to each other, as labels say: outsiders write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.core.serving.layout import GPUS_MAX, groups, layout, rate, slices
from navarch.core.serving.views import Taint

NAMES = st.sampled_from(["socket", "nvlink", "nvlink-bandwidth", "mig.0", "mig.x", "taint.a"])
TEXTS = st.text(st.sampled_from("0123456789-;,.=gGiB:NoScheduleabc "), max_size=20)


def test_everything_that_a_label_can_say_is_understood() -> None:
    found = layout(
        {
            "navarch.io/socket": "0-1;2-3",
            "navarch.io/nvlink": "0,2;1,3",
            "navarch.io/nvlink-bandwidth": "450G",
            "navarch.io/mig.0": "1g.10gb=3,2g.20gb=2",
            "navarch.io/taint.dedicated": "batch:NoExecute",
            "navarch.io/taint.slow": "yes",
            "navarch.io/pool": "train",
            "other": "label",
        }
    )
    assert found.faults == ()
    assert found.socket == {0: 0, 1: 0, 2: 1, 3: 1}
    assert found.nvlink == {0: 0, 2: 0, 1: 1, 3: 1}
    assert found.bandwidth == 450 * 10**9
    assert found.mig == {0: {"1g.10gb": 3, "2g.20gb": 2}}
    assert found.taints == (Taint("dedicated", "batch", "NoExecute"), Taint("slow", "yes"))


@pytest.mark.parametrize("text,size", [("900G", 900 * 10**9), ("64GiB/s", 2**36), ("5", 5)])
def test_rates_have_the_usual_suffixes(text: str, size: int) -> None:
    assert rate(text) == size


@pytest.mark.parametrize(
    "key,value,expected",
    [
        ("nvlink", "0-3;3-4", "GPU 3 in one group only"),
        ("nvlink", "0..3", "indexes like 0-3;4-7"),
        ("socket", f"{GPUS_MAX}", f"GPU indexes below {GPUS_MAX}"),
        ("nvlink-bandwidth", "fast", "bytes a second like 900G"),
        ("mig.0", "1g.10gb=999", "profiles and counts up to 64 like 1g.10gb=7"),
        ("mig.first", "1g.10gb=1", f"GPU indexes below {GPUS_MAX}"),
        ("taint.a", "b:Never", "a value and one of NoSchedule"),
    ],
)
def test_a_label_that_makes_no_sense_is_left_out_by_name(
    key: str, value: str, expected: str
) -> None:
    found = layout({f"navarch.io/{key}": value, "navarch.io/mig.1": "1g.10gb=7"})
    assert found.mig == {1: {"1g.10gb": 7}}
    assert len(found.faults) == 1
    assert found.faults[0].startswith(f"navarch.io/{key}: {value!r}: expected {expected}")


@given(st.dictionaries(NAMES, TEXTS))
def test_no_label_breaks_the_reading(labels: dict[str, str]) -> None:
    found = layout({f"navarch.io/{name}": text for name, text in labels.items()})
    assert len(found.faults) <= len(labels)
    assert all(0 <= gpu < GPUS_MAX for gpu in (*found.socket, *found.nvlink, *found.mig))


@given(st.lists(st.integers(0, GPUS_MAX - 1), unique=True, min_size=1, max_size=8))
def test_groups_are_read_back_as_they_are_written(indexes: list[int]) -> None:
    assert groups(";".join(map(str, indexes))) == {gpu: at for at, gpu in enumerate(indexes)}


def test_a_profile_is_named_once() -> None:
    with pytest.raises(ValueError, match="profiles and counts"):
        slices("1g.10gb=1,1g.10gb=2")
