"""Where each ZeRO stage keeps what a rank owns: its pieces of the fp32 weights and of AdamW's two moments.

AdamW steps tensors that DeepSpeed has made of the parameters, called masters here: at stages 1-3 each rank's share of
the flattened weights, in one 1-D tensor a parameter group (stage 3: one a sub-group), and at stage 0 the parameters
themselves. DeepSpeed has no public names for them, so it is pinned, and a class that is not known here is refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pretrain.fragments import WEIGHT, Piece

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's names for its first and second moment
# DeepSpeed's optimizers and the attribute of each that lists the masters
STAGE_1_BF16, STAGES_1_2, STAGE_3 = "BF16_Optimizer", "DeepSpeedZeroOptimizer", "DeepSpeedZeroOptimizer_Stage3"
MASTERS = {
    STAGE_1_BF16: "fp32_groups_flat_partition",
    STAGES_1_2: "single_partition_of_fp32_groups",
    STAGE_3: "fp32_partitioned_groups_flat",
}


class Slot(NamedTuple):
    """A run of one flattened parameter, from element `start` on, which lies in `master` from `offset` on."""

    master: Tensor
    offset: int
    start: int
    numel: int


class Layout:
    """What this rank owns in DeepSpeed's optimizer, which steps `adamw` (at stage 0 it is `adamw`)."""

    def __init__(self, optimizer: Any, adamw: torch.optim.AdamW) -> None:
        self.kind = type(optimizer).__name__
        self.replicated = optimizer is adamw  # every rank owns everything
        if not self.replicated and self.kind not in MASTERS:
            raise TypeError(f"DeepSpeed made a {self.kind}, whose layout this version does not know")
        self._optimizer = optimizer
        self._adamw = adamw
        self.set_steps(0)
        for master in self.masters():  # what AdamW itself makes at its first step: before it, too, there is a state
            self._adamw.state[master] |= {moment: torch.zeros_like(master) for moment in MOMENTS}

    def masters(self) -> list[Tensor]:
        """The tensors that AdamW steps on this rank."""
        if self.replicated:
            return [parameter for group in self._adamw.param_groups for parameter in group["params"]]
        masters: list[Tensor] = getattr(self._optimizer, MASTERS[self.kind])
        return masters

    def steps(self) -> int:
        """Steps that AdamW has taken: those that were skipped are not among them."""
        return int(self._adamw.state[self.masters()[0]]["step"])

    def set_steps(self, steps: int) -> None:
        for master in self.masters():  # a tensor each, because AdamW counts in place
            self._adamw.state[master]["step"] = torch.tensor(float(steps), device=master.device)

    def piece(self, parameter: nn.Parameter) -> Piece | None:
        """Live views of this rank's part of a parameter; None where it has none."""
        slot = self._slot(parameter)
        if slot is None:
            return None
        kinds = {WEIGHT: slot.master, **{moment: self._adamw.state[slot.master][moment] for moment in MOMENTS}}
        views = {kind: tensor.detach().view(-1).narrow(0, slot.offset, slot.numel) for kind, tensor in kinds.items()}
        return Piece(slot.start, views)

    def refresh(self) -> None:
        """Make the model's weights from masters that were written to. All ranks together."""
        if self.kind in (STAGE_1_BF16, STAGES_1_2):
            self._optimizer.update_lp_params()
        elif self.kind == STAGE_3:
            self._optimizer.checkpoint_event_prologue()
            for group in range(len(self.masters())):
                self._optimizer._reassign_or_swap_out_partitioned_parameters(group)
            self._optimizer.checkpoint_event_epilogue()

    def _slot(self, parameter: Any) -> Slot | None:
        if self.replicated:
            return Slot(parameter, 0, 0, parameter.numel())
        if self.kind == STAGE_3:  # every parameter is cut into one part a rank, the last ones padded
            group, offset, part = self._optimizer.grad_position[self._optimizer.get_param_id(parameter)]
            start = dist.get_rank() * part
            numel = min(part, parameter.ds_numel - start)
            return Slot(self.masters()[group], offset, start, numel) if numel > 0 else None
        mapping = parameter._hp_mapping
        if mapping is None:
            return None
        address = mapping.hp_fragment_address
        master = self.masters()[mapping.param_group_index]
        return Slot(master, address.start, mapping.lp_fragment_address.start, address.numel)
