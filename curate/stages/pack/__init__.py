"""The pack stage: windows are planned region by region and pass by pass, then shuffled together by hash."""
