"""Names of modalities that come from columns: such as gin writes, and torch gives to parts."""

from __future__ import annotations

import re

# What every module of torch's has, which cannot have a part of that name (`dir(nn.ModuleDict)`):
# written down as torch takes seconds to import, in each process that reads a table.
_OF_TORCH = """
T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda
double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
named_modules named_parameters parameters pop register_backward_hook register_buffer
register_forward_hook register_forward_pre_hook register_full_backward_hook
register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
register_state_dict_pre_hook set_extra_state set_submodule share_memory state_dict to to_empty
train type update values xpu zero_grad
"""
TAKEN = frozenset(_OF_TORCH.split())


def plain_name(column: str) -> str:
    """Return a column's name as that of a modality."""
    plain = re.sub(r"\W+", "_", column).strip("_") or "column"
    return f"column_{plain}" if plain[0].isdigit() or plain in TAKEN else plain
