"""The tape: order of the walk, freeing, hooks, what is recorded and what is not."""

import gc
import weakref

import numpy as np
import pytest

import minicnn as mc
from minicnn.tape import Function


def leaf(*values):
    return mc.tensor(np.array(values), requires_grad=True)


def test_gradients_of_a_shared_value_add_up():
    x = leaf(2.0, 3.0)
    y = x * x
    (y + y * x).sum().backward()  # x^2 + x^3
    np.testing.assert_allclose(x.grad.numpy(), [2 * 2 + 3 * 4, 2 * 3 + 3 * 9])


def test_backward_adds_to_grad():
    x = leaf(1.0)
    for _ in range(3):
        (x * 2).sum().backward()
    assert x.grad.item() == 6


def test_a_long_chain_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 0.0
    y.backward()
    assert x.grad.item() == 1
    del y


def test_nothing_is_recorded_under_no_grad():
    x = leaf(1.0)
    with mc.no_grad():
        y = x * 2
        with mc.enable_grad():
            z = x * 2
    assert not y.requires_grad and y.entry is None
    assert z.requires_grad


def test_no_grad_is_a_decorator_and_ends_with_an_exception():
    x = leaf(1.0)

    @mc.no_grad()
    def double(t):
        return t * 2

    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError), mc.no_grad():
        1 / 0  # noqa: B018
    assert (x * 2).requires_grad


def test_backward_records_nothing_unless_create_graph():
    x = leaf(3.0)
    (x**3).sum().backward()
    assert not x.grad.requires_grad
    x.grad = None
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    x.grad.sum().backward()
    assert x.grad.item() == 27 + 18  # the second backward adds to the same .grad


def test_third_derivative():
    x = leaf(2.0)
    (g,) = mc.grad((x**4).sum(), [x], create_graph=True)
    (h,) = mc.grad(g.sum(), [x], create_graph=True)
    (k,) = mc.grad(h.sum(), [x])
    assert k.item() == pytest.approx(48)


def test_grad_touches_no_grad_and_skips_what_is_not_asked():
    x, w = leaf(2.0), leaf(5.0)
    seen = []

    class Watched(Function):
        saves = ("a", "b")

        def forward(self, a, b):
            return a * b

        def backward(self, grad):
            seen.append(tuple(self.needs))
            a, b = self.saved
            return grad * b, None

    (g,) = mc.grad(Watched.apply(x, w).sum(), [x])
    assert g.item() == 5 and x.grad is None and w.grad is None
    assert seen == [(True, False)]


def test_grad_by_a_tensor_in_the_middle():
    x = leaf(2.0)
    y = x * 3
    (g,) = mc.grad((y * y).sum(), [y])
    assert g.item() == 12


def test_grad_of_an_unused_input():
    x, w = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"inputs\[1\]"):
        mc.grad((x * 2).sum(), [x, w])
    assert mc.grad((x * 2).sum(), [x, w], allow_unused=True)[1] is None


@pytest.mark.parametrize("make", [lambda x: x * x, lambda x: x + 1], ids=["saves", "saves nothing"])
def test_second_backward_through_a_freed_tape(make):
    y = make(leaf(1.0)).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="freed tape.*retain_graph=True"):
        y.backward()
    z = make(leaf(1.0)).sum()
    z.backward(retain_graph=True)
    z.backward()


def test_backward_of_many_numbers_needs_a_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) needs a gradient"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"gradient is float64 \(3,\).*expected float64 \(2,\)"):
        (x * 2).backward(mc.tensor(np.ones(3)))
    with pytest.raises(TypeError, match="must be a Tensor"):
        (x * 2).backward(np.ones(2))
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        mc.ones(1).backward()


def test_an_in_place_change_of_a_saved_array_is_an_error():
    x = leaf(1.0, 2.0)
    y = x * 3
    z = (y * y).sum()
    with mc.no_grad():
        y.fill_(7)
    with pytest.raises(RuntimeError, match=r"Mul.backward: an array it saved, of shape \(2,\), was changed in place"):
        z.backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.detach().zero_(),
        lambda t: t.reshape(2, 1).detach().copy_(np.ones((2, 1))),
        lambda t: t.detach().__setitem__(0, 9.0),
    ],
)
def test_a_change_through_another_view_is_seen_too(change):
    x = leaf(1.0, 2.0)
    z = (x.exp() * x).sum()
    with mc.no_grad():
        change(x)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_an_in_place_change_of_a_leaf_needs_no_grad():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="only under no_grad"):
        x.zero_()


def test_hooks_see_and_change_the_whole_gradient():
    x = leaf(2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.item()))
    with x.register_hook(lambda g: g * 10):
        (y + y).sum().backward()
    assert seen == [2.0]
    assert x.grad.item() == 60
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.item() == 3  # the hook went with its block


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.item() == 12


def test_two_leaves_never_share_one_gradient_array():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad.fill_(5)
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1])


def test_the_given_gradient_is_not_shared_with_a_leaf():
    a, start = leaf(1.0, 2.0), mc.tensor(np.ones(2))
    (a + 0.0).backward(start)
    a.grad.fill_(5)
    np.testing.assert_array_equal(start.numpy(), [1, 1])


def test_a_tape_goes_with_its_last_tensor():
    gc.disable()  # by counting alone: there must be no circle
    try:
        x = leaf(1.0)
        middle = x.exp()
        y = (middle * middle).sum()
        gone = weakref.ref(middle)
        del middle
        assert gone() is not None  # the tape saved it
        y.backward()
        assert gone() is None
        z = x.exp().exp()
        inner = weakref.ref(z)
        del z
        assert inner() is None
    finally:
        gc.enable()


def test_memory_stays_flat_over_many_steps():
    w = mc.tensor(np.ones((50, 50)), requires_grad=True)

    def step():
        w.grad = None
        ((w @ w).tanh() * 0.5).sum().backward()

    step()
    before = mc.memory.stats()["in_use"]
    for _ in range(200):
        step()
    assert mc.memory.stats()["in_use"] == before


def test_kept_views_are_never_overwritten():
    x = mc.tensor(np.arange(1000.0))
    kept = (x * 2).numpy()
    for _ in range(10):
        _ = x * 3
    np.testing.assert_array_equal(kept, np.arange(1000.0) * 2)


def test_detect_anomaly_names_op_and_line():
    x = leaf(0.0)
    with mc.detect_anomaly():
        y = x.log()
        z = (y * 0.0).sum()
        with pytest.raises(
            RuntimeError, match=r"Log.backward gave NaN .* input 0; called from .*test_tape.py:\d+: y = x.log\(\)"
        ):
            z.backward()


class GivesAway(Function):
    """Twice the input, with a gradient that is somebody else's tensor."""

    of: mc.Tensor

    def forward(self, x):
        return x * 2

    def backward(self, grad):
        return self.of


def test_what_a_hook_saw_is_not_changed_with_the_gradient():
    seen = []
    x = mc.ones(3, requires_grad=True)
    y = x + 0
    y.register_hook(seen.append)
    x.register_hook(seen.append)
    y.sum().backward()
    x.grad.zero_()
    assert [grad.tolist() for grad in seen] == [[1, 1, 1], [1, 1, 1]]


def test_what_a_hook_or_an_op_of_the_users_returned_stays_theirs():
    mine = mc.ones(3)
    a, b = mc.ones(3, requires_grad=True), mc.ones(3, requires_grad=True)
    a.register_hook(lambda grad: mine)
    a.sum().backward()
    GivesAway.apply(b, of=mine).sum().backward()
    a.grad.zero_()
    b.grad.zero_()
    assert mine.tolist() == [1, 1, 1]


def test_checkpoint_gives_the_same_gradients_with_less_kept():
    def run(through):
        w = mc.tensor(np.linspace(-1, 1, 100).reshape(10, 10), requires_grad=True)
        x = mc.tensor(np.linspace(0, 1, 100).reshape(10, 10), requires_grad=True)
        mc.manual_seed(3)

        def block(t):
            return mc.nn.functional.dropout((t @ w).tanh(), 0.4) * t

        y = x
        for _ in range(3):
            y = mc.checkpoint(block, y) if through else block(y)
        used = mc.memory.stats()["in_use"]
        (g,) = mc.grad(y.sum(), [w], create_graph=True)
        (h,) = mc.grad((g * g).sum(), [x])
        return g.numpy().copy(), h.numpy().copy(), used

    (g1, h1, used1), (g2, h2, used2) = run(False), run(True)
    np.testing.assert_array_equal(g1, g2)
    np.testing.assert_allclose(h1, h2, rtol=1e-12)
    assert used2 < used1


def test_checkpoint_reaches_leaves_by_backward():
    w = leaf(2.0)
    mc.checkpoint(lambda t: t * w * w, mc.tensor(np.array([3.0]))).sum().backward()
    assert w.grad.item() == 12


def test_a_function_says_what_is_missing():
    class Half(Function):
        def forward(self, x):
            return x / 2

    with pytest.raises(NotImplementedError, match="Half has no gradient"):
        Half.apply(leaf(1.0)).sum().backward()


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(Function):
        saves = ("x",)

        def forward(self, x):
            return x * x

        def backward(self, grad):
            (x,) = self.saved
            return grad * x  # a factor 2 is missing

    with pytest.raises(AssertionError, match=r"inputs\[0\]\[0\]: the tape says"):
        mc.gradcheck(Wrong.apply, [leaf(1.0, 2.0)])
    assert not mc.gradcheck(Wrong.apply, [leaf(1.0, 2.0)], raise_exception=False)
    with pytest.raises(TypeError, match="float64"):
        mc.gradcheck(Wrong.apply, [mc.tensor([1.0], requires_grad=True)])


@pytest.mark.parametrize("affine", [False, True])
def test_second_derivatives_do_not_depend_on_being_recorded(affine):
    """A gradient that depends on the input (here through y^3) must not be counted on that way twice."""
    rng = np.random.default_rng(0)
    x, w, b = (mc.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((6, 3), (3,), (3,)))
    given = (w, b) if affine else (None, None)

    def second(create_graph):
        y = mc.nn.functional.batch_norm(x, None, None, *given, training=True)
        (g,) = mc.grad((y**3).sum(), [x], create_graph=True)
        return mc.grad((g * g).sum(), [x], create_graph=create_graph)[0].numpy()

    def numeric(place, eps=1e-5):
        def value(shift):
            moved = x.numpy().copy()
            moved[place] += shift
            z = mc.tensor(moved, requires_grad=True)
            y = mc.nn.functional.batch_norm(z, None, None, *given, training=True)
            (g,) = mc.grad((y**3).sum(), [z])
            return float((g.numpy() ** 2).sum())

        return (value(eps) - value(-eps)) / (2 * eps)

    np.testing.assert_allclose(second(True), second(False), rtol=1e-9)
    np.testing.assert_allclose(second(False)[2, 1], numeric((2, 1)), rtol=1e-5)


def test_in_place_operators_change_a_parameter_under_no_grad():
    p = mc.nn.Parameter(mc.ones(2))
    same = p
    (p * 3).sum().backward()
    with mc.no_grad():
        p -= 0.1 * p.grad
        p *= 2
    assert p is same
    np.testing.assert_allclose(p.numpy(), [1.4, 1.4], rtol=1e-6)
    y = p * 1
    z = y
    y += p  # recorded: a new tensor, and the old one is as it was
    assert y is not z and y.requires_grad
    with pytest.raises(TypeError, match="int64"):
        i = mc.tensor([1, 2])
        i += 0.5


def test_a_reshape_and_its_source_do_not_share_a_gradient():
    x, b = mc.ones(2, 3, requires_grad=True), mc.ones(6, requires_grad=True)
    (x.reshape(6) + b).sum().backward()
    x.grad.fill_(7)
    assert b.grad.numpy().max() == 1
    start = mc.ones(6)
    y = mc.ones(2, 3, requires_grad=True)
    y.reshape(6).backward(start)
    y.grad.zero_()
    assert start.numpy().min() == 1


def test_backward_after_grad_by_a_tensor_in_the_middle():
    x = leaf(3.0)
    h = x * x
    (g,) = mc.grad((h * h).sum(), [h])
    h.backward(g)
    assert x.grad.item() == pytest.approx(4 * 27)


def test_retained_gradients_are_their_own():
    x = mc.ones(2, 3, requires_grad=True)
    y = x.reshape(6)
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    x.grad.zero_()
    assert y.grad.tolist() == [2.0] * 6
    with pytest.raises(RuntimeError, match="retain_grad"):
        mc.ones(1).retain_grad()


def test_wrong_gradients_are_named():
    class Short(Function):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            return grad.sum()

    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"Short.backward gave a gradient of shape \(\) for .* of shape \(2,\)"):
        Short.apply(x).sum().backward()
    x.register_hook(lambda g: 3)
    with pytest.raises(TypeError, match="hook returned int"):
        (x * 2).sum().backward()


def test_nothing_stays_behind_a_freed_tape():
    x = mc.tensor(np.random.default_rng(0).standard_normal((4, 16, 16, 8)), requires_grad=True)
    before = mc.memory.stats()["in_use"]
    loss = mc.nn.functional.max_pool2d(mc.nn.functional.batch_norm(x, None, None, training=True), 2).max(dim=3).sum()
    assert mc.memory.stats()["in_use"] > before + 64  # what the entries saved
    loss.backward()
    assert mc.memory.stats()["in_use"] == before + x.grad.array.nbytes + 64  # the gradient and the loss


def test_checkpoint_sees_that_other_ops_ran_again():
    model = mc.nn.Sequential(mc.nn.BatchNorm2d(3), mc.nn.SiLU(), mc.nn.SiLU())
    y = mc.checkpoint(model, mc.ones(2, 4, 4, 3, requires_grad=True))
    model[1].register_forward_hook(lambda *a: None)  # so that the layers run one by one
    with pytest.raises(RuntimeError, match="did something else when it ran again"):
        y.sum().backward()


def test_checkpoint_runs_again_with_the_fusion_of_the_first_time():
    random = np.random.default_rng(0)
    array = random.normal(size=(2, 4, 4, 3))
    model = mc.nn.Sequential(mc.nn.BatchNorm2d(3), mc.nn.SiLU(), mc.nn.SiLU()).to("float64")
    x, again = (mc.tensor(array, requires_grad=True) for _ in range(2))
    (model(x) ** 2).sum().backward()
    y = mc.checkpoint(model, again)
    with mc.fusion(False):
        (y**2).sum().backward()
    np.testing.assert_array_equal(again.grad.numpy(), x.grad.numpy())


def test_checkpoint_sees_a_changed_input():
    x = leaf(1.0, 2.0)
    y = mc.checkpoint(lambda v: (v * v).sum(), x)
    with mc.no_grad():
        x.fill_(100.0)
    with pytest.raises(RuntimeError, match="checkpoint: an input"):
        y.backward()


def test_no_grad_can_be_used_again():
    quiet = mc.no_grad()
    for _ in range(2):
        with quiet, quiet:
            assert not (leaf(1.0) * 2).requires_grad
    assert (leaf(1.0) * 2).requires_grad


def test_an_integer_result_is_not_on_the_tape():
    y = (leaf(1.0, 2.0) * 2).to("int64")
    y[0] = 5
    assert y.is_leaf and y.tolist() == [5, 4]


def test_a_hook_handle_removes_its_own_hook_once():
    x, seen = leaf(1.0), []
    first = x.register_hook(seen.append)
    x.register_hook(seen.append)
    first.remove()
    first.remove()
    (x * 2).sum().backward()
    assert len(seen) == 1
