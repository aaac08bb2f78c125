"""Networks: shapes, initial behaviour, and normalisers that change nothing but scale."""

import pytest
import torch
from torch.testing import assert_close

from touchline.networks import ActorCritic, DuelingQ, ImpalaCnn, ObservationNormaliser, ValueNormaliser, scoped_seed
from touchline.types import EnvSpec

FLOATS = EnvSpec(observation_shape=(7,), observation_dtype="float32", num_actions=19)
PICTURES = EnvSpec(observation_shape=(72, 96, 16), observation_dtype="uint8", num_actions=19)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weights_depend_on_the_seed_alone_and_leave_global_randomness_as_it_was():
    before = torch.random.get_rng_state()
    nets = []
    for seed in (1, 1, 2):
        with scoped_seed(seed):
            nets.append(ActorCritic(FLOATS))
    first, again, other = (torch.cat([p.flatten() for p in net.parameters()]) for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_first_policy_is_nearly_uniform_whatever_it_sees():
    with scoped_seed(0):
        net = ActorCritic(FLOATS)
    probabilities = net.logits(randn(64, 7)).softmax(-1)
    assert_close(probabilities, torch.full_like(probabilities, 1 / 19), atol=0.005, rtol=0)


def test_policy_and_value_networks_are_separate_by_default_and_shared_on_request():
    with scoped_seed(0):
        separate, shared = ActorCritic(FLOATS), ActorCritic(FLOATS, shared=True)
    for net, touched in ((separate, False), (shared, True)):
        net.values(randn(4, 7)).sum().backward()
        grads = [p.grad is not None for p in net.policy_encoder.parameters()]
        assert all(g is touched for g in grads)


def test_there_is_one_value_head_a_stream():
    with scoped_seed(0):
        net = ActorCritic(FLOATS, num_values=3)
    assert net.values(randn(4, 7)).shape == (4, 3)
    logits, values = net(randn(4, 7))
    assert (logits.shape, values.shape) == ((4, 19), (4, 3))


@pytest.mark.parametrize(("depths", "flat"), [((16, 32, 32, 32), 5 * 6 * 32), ((16, 32, 32), 9 * 12 * 32)])
def test_the_cnn_takes_stacked_smm_pictures(depths, flat):
    with scoped_seed(0):
        net = ImpalaCnn((72, 96, 16), depths=depths)
    assert net.dense.in_features == flat
    assert net(torch.zeros(2, 72, 96, 16, dtype=torch.uint8)).shape == (2, 256)


def test_the_cnn_of_the_grf_paper_has_the_parameters_its_layers_say():
    with scoped_seed(0):
        net = ImpalaCnn((72, 96, 16))
    inputs, expected = 16, 0
    for depth in (16, 32, 32, 32):
        expected += 9 * inputs * depth + depth + 4 * (9 * depth * depth + depth)
        inputs = depth
    expected += 960 * 256 + 256
    assert sum(p.numel() for p in net.parameters()) == expected


def test_pictures_choose_the_cnn_and_are_not_normalised():
    with scoped_seed(0):
        net = ActorCritic(PICTURES, shared=True)
    assert isinstance(net.policy_encoder, ImpalaCnn)
    assert net.normaliser is None
    assert net.logits(torch.zeros(1, 72, 96, 16, dtype=torch.uint8)).shape == (1, 19)


def test_the_cnn_refuses_vectors():
    with pytest.raises(ValueError, match="impala_cnn expects pictures"):
        ActorCritic(FLOATS, encoder="impala_cnn")


def test_the_normaliser_is_the_identity_before_any_data():
    x = randn(5, 7)
    assert torch.equal(ObservationNormaliser((7,))(x), x)


def test_statistics_merged_from_batches_equal_those_of_all_data():
    data = 100 + 3 * randn(999, 7).double()
    normaliser = ObservationNormaliser((7,))
    for part in data.split([1, 500, 498]):
        normaliser.update(part)
    assert_close(normaliser.mean, data.mean(0))
    assert_close(normaliser.var, data.var(0, unbiased=False))
    out = normaliser(data.float())
    assert_close(out.mean(0), torch.zeros(7), atol=1e-3, rtol=0)
    assert_close(out.std(0, unbiased=False), torch.ones(7), atol=1e-3, rtol=0)


def test_a_feature_that_never_moved_stays_finite_when_it_does():
    normaliser = ObservationNormaliser((1,))
    normaliser.update(torch.zeros(100, 1))
    assert normaliser(torch.ones(1, 1)).item() == 10.0


def test_a_state_dict_carries_the_statistics():
    first, second = ObservationNormaliser((7,)), ObservationNormaliser((7,))
    first.update(randn(50, 7) * 4)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(randn(3, 7, seed=1)), second(randn(3, 7, seed=1)))


def test_new_value_statistics_leave_the_values_as_they_were():
    with scoped_seed(0):
        net = ActorCritic(FLOATS, num_values=2, normalise_values=True)
    obs = randn(16, 7)
    before = net.values(obs)
    net.value_normaliser.update(randn(64, 2) * 50 + torch.tensor([100.0, -7.0]), net.value_head)
    assert net.value_normaliser.mean[0] > 50
    assert_close(net.values(obs), before, atol=1e-3, rtol=0)


def test_normalised_targets_come_back_in_units_of_reward():
    normaliser = ValueNormaliser(1)
    targets = 5 + 2 * randn(256, 1)
    normaliser.update(targets, torch.nn.Linear(3, 1))
    normal = normaliser.normalise(targets)
    assert_close(normal.std(unbiased=False).item(), 1.0, atol=1e-3, rtol=0)
    assert_close(normaliser(normal), targets)


def central_net(**options):
    spec = EnvSpec((7,), "float32", 3, num_players=2, central=4)
    return ActorCritic(spec, policy_hidden=(8,), value_hidden=(8,), **options)


def test_a_central_critic_sees_what_the_policy_does_not():
    net, obs = central_net(), torch.randn(5, 7)
    net.update_normalisers(torch.randn(50, 7))
    other = torch.cat([obs[:, :3], torch.randn(5, 4)], -1)
    assert torch.equal(net.logits(obs), net.logits(other))
    assert torch.equal(net.logits(obs), net.logits(obs[:, :3]))
    assert not torch.isclose(net.values(obs), net.values(other)).any()
    logits, raw = net(obs)
    assert torch.equal(logits, net.logits(obs)) and torch.equal(raw, net.values(obs))
    with pytest.raises(ValueError, match="shared_encoder must be False"):
        central_net(shared=True)


def test_normalisers_of_a_central_critic_learn_each_its_own_part():
    net = central_net()
    data = torch.randn(1000, 7) * torch.arange(1, 8) + 3
    net.update_normalisers(data)
    assert torch.allclose(net.normaliser.mean.float(), data[:, :3].mean(0), atol=1e-3)
    assert torch.allclose(net.central_normaliser.mean.float(), data[:, 3:].mean(0), atol=1e-3)


@pytest.mark.parametrize("kind", ["separate", "lstm", "q"])
def test_in_mixed_precision_what_the_heads_say_is_not_rounded_to_bfloat16(kind):
    with scoped_seed(0):
        if kind == "q":
            net = DuelingQ(FLOATS, dueling=False)
        else:
            net = ActorCritic(FLOATS, policy_head_gain=1.0, shared=kind == "lstm", lstm=16 * (kind == "lstm"))

    def outputs():
        obs = randn(64, 7)
        if kind == "lstm":
            return torch.cat(net.step(obs, net.initial_state(64))[:2], -1)
        return torch.cat(net(obs), -1) if kind == "separate" else net(obs)

    with torch.no_grad():
        exact = outputs()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = outputs()
    assert not torch.equal(mixed, exact), "nothing was computed in half precision"
    assert_close(mixed, exact, atol=0.1, rtol=0)
    assert (mixed.bfloat16().float() != mixed).float().mean() > 0.9
