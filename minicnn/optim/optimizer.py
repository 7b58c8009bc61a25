"""What all optimizers share: groups of parameters with options of their own, a state for each, saving and loading."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from ..nn.module import clear_grad
from ..ops.arguments import is_int, remembered
from ..tensor import Tensor, full

Group = dict[str, Any]
State = dict[str, Any]
Due = tuple[Tensor, Tensor, State]  # a parameter, its gradient, its state


class Optimizer:
    """Changes parameters by their gradients.

    params: tensors, or groups of them: dicts with "params" and options that differ from the defaults,
    as in [{"params": model.features.parameters(), "lr": 1e-4}, {"params": model.fc.parameters()}].

    param_groups: the groups, each with all its options; they may be changed between steps, as schedules do.
    state: what the optimizer remembers of a parameter, numbers and tensors by name.

    A subclass checks its options in `check`, names the arrays of its state in `slots` and moves parameters in `update`.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        name = type(self).__name__
        if isinstance(params, Tensor | Mapping):
            raise TypeError(f"{name}: params must be a list of tensors or of groups, got one {type(params).__name__}")
        given = list(params)
        if not given:
            raise ValueError(f"{name}: got no parameters")
        self.defaults = defaults
        self.state: dict[Tensor, State] = {}
        self.param_groups: list[Group] = []
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own."""
        name = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"{name}: expected tensors throughout or groups like {{'params': [...], 'lr': 0.1}}, got "
                            f"{group!r}")
        unknown = sorted(set(group) - {"params", *self.defaults})
        if unknown:
            raise ValueError(f"{name}: unknown options {', '.join(unknown)}; it has {', '.join(self.defaults)}")
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if not params:
            raise ValueError(f"{name}: group {len(self.param_groups)} has no parameters")
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for i, param in enumerate(params):
            if not isinstance(param, Tensor):
                raise TypeError(f"{name}: parameter {i} must be a Tensor, got {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError(f"{name}: parameter {i}, of shape {param.shape}, was computed from others; only leaf "
                                 "tensors can be optimized")
            if id(param) in taken:
                raise ValueError(f"{name}: parameter {i}, of shape {param.shape}, is there twice")
            taken.add(id(param))
        new = self.defaults | dict(group) | {"params": params}
        self.check(new)
        self.param_groups.append(new)

    # ------------------------------------------------------------------------------------------------------ stepping

    def check(self, group: Group) -> None:
        """Raise ValueError for options out of range."""
        raise NotImplementedError(f"{type(self).__name__} does not check its options")

    def slots(self, group: Group) -> dict[str, float]:
        """The arrays that the state of a parameter holds, and the number that each is filled with at first."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its state holds")

    def update(self, due: list[Due], group: Group, step: int) -> None:
        """One step of parameters, in place, each with its gradient and state. They are all of one group, dtype and
        device, and have made as many steps before, `step`: one call of a kernel is enough (see `dispatch_rows`)."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        name = type(self).__name__
        moving = [(param, param.grad, (number, *_kind(name, param, param.grad)))
                  for number, group in enumerate(self.param_groups) for param in group["params"]
                  if param.grad is not None]
        slots = [self.slots(group) for group in self.param_groups]
        alike: dict[Any, list[Due]] = {}
        for param, grad, kind in moving:
            state = self._state_of(param, slots[kind[0]])
            alike.setdefault((*kind, state["step"]), []).append((param, grad, state))
        for (number, _, _, step), due in alike.items():
            self.update(due, self.param_groups[number], step)
            for param, _, state in due:
                param.touch()
                state["step"] = step + 1

    def _state_of(self, param: Tensor, slots: dict[str, float]) -> State:
        """The state of a parameter, with the arrays that the options ask for now: they may have changed."""
        state = self.state.get(param)
        if state is None or len(state) != len(slots) + 1 or not slots.keys() <= state.keys():
            before = state or {"step": 0}
            arrays = {name: before[name] if name in before else filled(param, value) for name, value in slots.items()}
            self.state[param] = state = {"step": before["step"]} | arrays
        return state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with 0."""
        for group in self.param_groups:
            for param in group["params"]:
                clear_grad(param, set_to_none)

    # --------------------------------------------------------------------------------------------- saving and loading

    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on from here, in plain dicts and lists.

        "state": for the number of each parameter (counted through all groups) its state, arrays being NumPy copies;
        "param_groups": the options of each group, with "params" the numbers of its parameters.
        """
        number = {id(param): i for i, param in enumerate(self._params())}
        state = {number[id(param)]: {name: value.numpy().copy() if isinstance(value, Tensor) else value
                                     for name, value in values.items()} for param, values in self.state.items()}
        groups = [group | {"params": [number[id(param)] for param in group["params"]]} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state. All of it is checked before anything changes; ValueError if it is another's."""
        groups = self._loaded_groups(state_dict)
        state = self._loaded_state(state_dict["state"], groups)
        for own, new in zip(self.param_groups, groups, strict=True):
            own.update(new)
        self.state = state

    def _loaded_groups(self, state_dict: Any) -> list[Group]:
        """The options of each group, from a state dict that fits this optimizer."""
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(f"{name}: expected a dict with 'state' and 'param_groups'")
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError(f"{name}: {len(groups)} groups came, expected {len(self.param_groups)}")
        loaded, count = [], 0
        for i, (new, own) in enumerate(zip(groups, self.param_groups, strict=True)):
            expected = list(range(count, count := count + len(own["params"])))
            if list(new.get("params", ())) != expected:
                raise ValueError(f"{name}: group {i} must have the {len(expected)} parameters {expected[0]} to "
                                 f"{expected[-1]}, got {new.get('params')}")
            missing = set(self.defaults) - set(new)
            if missing:
                raise ValueError(f"{name}: group {i} lacks {', '.join(sorted(missing))}")
            # JSON knows no tuples, and other keys are a schedule's
            options = {key: tuple(value) if isinstance(value, list) else value for key, value in new.items()
                       if key != "params"}
            self.check(own | options)
            loaded.append(options)
        return loaded

    def _loaded_state(self, states: Mapping[Any, Any], groups: Sequence[Group]) -> dict[Tensor, State]:
        """The state of each parameter, with tensors for arrays."""
        name = f"{type(self).__name__}.load_state_dict"
        params = self._params()
        options = [own | new for own, new in zip(self.param_groups, groups, strict=True) for _ in own["params"]]
        loaded: dict[Tensor, State] = {}
        for key, values in states.items():
            is_number = is_int(key) or (isinstance(key, str) and key.isdecimal())  # JSON's keys are text
            number = int(key) if is_number else -1
            if not 0 <= number < len(params):
                raise ValueError(f"{name}: state of parameter {key!r}, expected 0 to {len(params) - 1}")
            slots = self.slots(options[number])
            if set(values) != {"step", *slots}:
                raise ValueError(f"{name}: parameter {number} has a state of {sorted(values)}, expected "
                                 f"{sorted(['step', *slots])}")
            if not is_int(values["step"]) or values["step"] < 0:
                raise ValueError(f"{name}: step of parameter {number} must be an int of at least 0, got "
                                 f"{values['step']!r}")
            loaded[params[number]] = {"step": int(values["step"])} | {
                n: like(f"{name}: {n} of parameter {number}", values[n], params[number]) for n in slots}
        return loaded


@remembered
def _kind(name: str, param: Tensor, grad: Tensor) -> tuple[str, str]:
    """dtype and device of a parameter; ValueError if its gradient is of others, or of another shape."""
    if (grad.shape, grad.dtype, grad.device) != (param.shape, param.dtype, param.device):
        raise ValueError(f"{name}: a gradient is {grad.dtype} {grad.shape} on {grad.device}, its parameter "
                         f"{param.dtype} {param.shape} on {param.device}; nothing was changed")
    return param.dtype.char, param.device


def like(what: str, value: Any, param: Tensor) -> Tensor:
    """A loaded array as a tensor of the parameter's shape and dtype, on its device."""
    array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.shape != param.shape or not np.can_cast(array.dtype, param.dtype, "same_kind"):
        raise ValueError(f"{what} is {array.dtype} {array.shape}, expected {param.dtype} {param.shape}")
    return filled(param).copy_(array)


def filled(param: Tensor, value: float = 0.0) -> Tensor:
    """A tensor for the state: of the parameter's shape and dtype, on its device, filled with a number."""
    return full(param.shape, value, param.dtype, param.device)


def not_negative(name: str, group: Group, *options: str) -> None:
    """Each of these options is a finite number of at least 0."""
    for option in options:
        value = group[option]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (number and isfinite(value) and value >= 0):
            raise ValueError(f"{name}: {option} must be a number of at least 0, got {value!r}")


def fraction(name: str, option: str, value: Any) -> None:
    """A number from 0 to below 1: how much of the past is kept."""
    if not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise ValueError(f"{name}: {option} must be from 0 to below 1, got {value!r}")
