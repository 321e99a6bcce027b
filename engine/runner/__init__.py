"""What the tasks add to mmengine's Runner: hooks, seeding, several processes, precision."""
