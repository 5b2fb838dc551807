"""Work by one process and by several. Killed ones: tests/reliability/test_stops.py."""

import pytest
import torch

from sipe_mmseg.engine.parallel_work import each_done


@pytest.mark.parametrize('jobs', [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    threads = torch.get_num_threads()
    assert list(each_done(abs, [-3, 2, -1], jobs, '--jobs')) == [3, 2, 1]
    assert torch.get_num_threads() == threads


def test_no_task_no_process() -> None:
    assert list(each_done(abs, [], 8, '--jobs')) == []
