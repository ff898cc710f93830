"""What distillation inserts and cuts: MaskNets, gates, mask points."""
