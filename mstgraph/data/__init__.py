"""From a store to normalised batches on the device."""
